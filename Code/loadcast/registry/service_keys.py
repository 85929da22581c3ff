"""The two keys of a service: made here, shown once, and kept as digests alone."""

from __future__ import annotations

import hashlib
import os
import secrets
from pathlib import Path
from typing import Literal

from loadcast.errors import ArtefactError, OutputError
from loadcast.registry.documents import now
from loadcast.registry.service import KeyInfo
from loadcast.serving.keys import Keys, digest_line, new_key
from loadcast.system.small_files import read_small_file, replace_file

Slot = Literal["primary", "secondary"]
SLOTS: tuple[Slot, Slot] = ("primary", "secondary")
_MOST_BYTES = 1_000


def make_keys(file: Path, owner: int | None) -> tuple[dict[Slot, str], tuple[KeyInfo, ...]]:
    """Two new keys, by slot, and what is to be remembered of them; the file has their digests. Raises OutputError."""
    keys = {slot: new_key() for slot in SLOTS}
    write_lines(file, [digest_line(keys[slot]) for slot in SLOTS], owner)
    return keys, tuple(_info(slot, keys[slot]) for slot in SLOTS)


def regenerate(
    file: Path, owner: int | None, slot: Slot, known: tuple[KeyInfo, ...]
) -> tuple[str, tuple[KeyInfo, ...]]:
    """A new key in place of one; the other goes on. Raises ArtefactError for a file that is not as it was made."""
    lines = read_lines(file)
    key = new_key()
    lines[SLOTS.index(slot)] = digest_line(key)
    write_lines(file, lines, owner)
    return key, tuple(_info(slot, key) if info.slot == slot else info for info in known)


def read_lines(file: Path) -> list[str]:
    """The two digests as they stand in a key file. Raises ArtefactError."""
    try:
        lines = read_small_file(file, _MOST_BYTES).decode("ascii", "replace").splitlines()
    except OSError as error:
        raise ArtefactError(f"{file} cannot be read: {error.strerror or error}. Create the service again.") from error
    if len(lines) != len(SLOTS) or not all(line.startswith("sha256:") for line in lines):
        raise ArtefactError(f"{file} is not as it was made, wanted two digests. Create the service again.")
    Keys.parse("\n".join(lines).encode(), str(file))
    return lines


def _info(slot: Slot, key: str) -> KeyInfo:
    return KeyInfo(slot=slot, created=now(), fingerprint=hashlib.sha256(key.encode()).hexdigest()[:8])


def write_lines(file: Path, lines: list[str], owner: int | None) -> None:
    """Replace a key file whole, as the service's own: nobody else may read it. Raises OutputError."""
    fresh = file.with_name(f".{file.name}-{secrets.token_hex(4)}-fresh")
    try:
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        replace_file(fresh, "".join(f"{line}\n" for line in lines).encode(), 0o600)
        if owner is not None:
            os.chown(file.parent, owner, owner)
            os.chown(fresh, owner, owner)
        os.replace(fresh, file)
    except OSError as error:
        fresh.unlink(missing_ok=True)
        raise OutputError(f"Cannot write {file}: {error.strerror or error}. Make room for it.") from error
