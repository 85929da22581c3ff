"""Keys of a service: two at most, kept as SHA-256 digests, rotated one at a time while the service runs."""

from __future__ import annotations

import hmac
import logging
import os
import re
import secrets
import stat
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

from loadcast.errors import ConfigError
from loadcast.logs.events import SERVICE, log_event
from loadcast.secrets import shown
from loadcast.serving.looks import LOOK_EVERY_S, Looks
from loadcast.system.small_files import read_small_file

KEY_VARIABLE = "LOADCAST_SERVICE_KEY"
_VARIABLE = f"variable {KEY_VARIABLE}"
#: What a key is called, by its line.
NAMES = ("primary", "secondary")
MAX_KEY_BYTES = 4096
_LINE_END_BYTES = 2
_MAX_FILE_BYTES = len(NAMES) * (MAX_KEY_BYTES + _LINE_END_BYTES)
_RANDOM_BYTES = 32
_PREFIX = b"sha256:"
_DIGEST = re.compile(rb"sha256:([0-9A-Fa-f]{64})")
_VISIBLE = re.compile(rb"[\x21-\x7e]+")
_WANTED = "wanted one or two lines of visible ASCII, each a key or sha256:<64 hexadecimal digits> of one"
_OPEN_TO_OTHERS = stat.S_IRWXG | stat.S_IRWXO


@dataclass(frozen=True)
class Keys:
    """The keys that a service takes, as digests; the keys themselves are not kept."""

    digests: tuple[bytes, ...] = field(repr=False)

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> Keys:
        """The keys of a file. Raises ConfigError, which never shows a key.

        Refused are a file that its group or others may read or write, one that holds more than two keys can take, and
        lines that are no key.
        """
        return cls.parse(_content(path)[0], f"key file {path}")

    @classmethod
    def parse(cls, content: bytes, source: str) -> Keys:
        """The keys in the lines of `content`; `source` stands in the ConfigError."""
        return cls(tuple(_digest(line) for line in _lines(content, source)))

    def accepts(self, sent: bytes) -> str | None:
        """Which key was sent, "primary" or "secondary", or None. How long it takes does not depend on `sent`."""
        digest = sha256(sent).digest()
        same = [hmac.compare_digest(digest, known) for known in self.digests]
        return next((name for name, is_same in zip(NAMES, same, strict=False) if is_same), None)

    def current(self) -> Keys:
        """These keys, which do not change: what stands where a KeyFile may stand."""
        return self


class KeyFile:
    """A file of keys that is read anew as it changes, so that a service need not be restarted.

    Raises ConfigError where the file cannot be used from the start; later on, a file that cannot be used leaves the
    keys as they are, and is warned of once.
    """

    def __init__(self, path: str | os.PathLike[str], clock: Callable[[], float] = time.monotonic) -> None:
        self._path = Path(path)
        content, self._inode = _content(path)
        self._keys = Keys.parse(content, f"key file {path}")
        # Digests: the keys themselves are not kept.
        self._seen, self._pending = sha256(content).digest(), b""
        self._warned = ""
        self._looks = Looks(self._look, clock)

    def __repr__(self) -> str:
        return f"KeyFile({shown(self._path)!r})"

    def current(self) -> Keys:
        """The keys; the file is looked at once a second at most. Any thread may ask, and none waits for another."""
        self._looks.look_if_due()
        return self._keys

    def _look(self) -> None:
        try:
            # What came through a pipe comes only once.
            if not stat.S_ISREG(os.stat(self._path).st_mode):
                return
            # So small a file is read faster than it can be known from its times that it need not be.
            content, inode = _content(self._path)
            digest = sha256(content).digest()
            if digest == self._seen:
                self._pending, self._warned = b"", ""
            elif inode != self._inode or digest == self._pending or _is_settled(self._path):
                self._take(content, inode)
            else:
                # Somebody may be writing it at this moment, and a part of a key looks like a key.
                self._pending = digest
        except (OSError, ConfigError) as error:
            self._warn(str(error))

    def _take(self, content: bytes, inode: int) -> None:
        self._keys = Keys.parse(content, f"key file {self._path}")
        self._seen, self._inode, self._pending, self._warned = sha256(content).digest(), inode, b"", ""
        message = "The key file has changed; its keys count from now on."
        log_event(SERVICE, logging.INFO, "keys", message, file=str(self._path), keys=len(self._keys.digests))

    def _warn(self, why: str) -> None:
        if why != self._warned:
            message = "The key file cannot be used; the keys from before still count."
            log_event(SERVICE, logging.WARNING, "keys", message, file=str(self._path), why=why)
        self._warned = why


def new_key() -> str:
    """A key of 256 random bits, which can stand in a URL."""
    return secrets.token_urlsafe(_RANDOM_BYTES)


def digest_line(key: str) -> str:
    """The line of a key file that takes `key` without holding it."""
    return f"{_PREFIX.decode()}{sha256(key.encode()).hexdigest()}"


def service_keys(key_file: str | os.PathLike[str] | None) -> Keys | KeyFile | None:
    """The keys of a service: in `key_file` where one is named, else that of LOADCAST_SERVICE_KEY; None without either.

    Raises ConfigError.
    """
    if key_file is not None:
        return KeyFile(key_file)
    key = _key_of_environment()
    return None if key is None else Keys.parse(key, _VARIABLE)


def read_key(key_file: str | os.PathLike[str] | None) -> str | None:
    """The key to send: the first of `key_file` where one is named, else LOADCAST_SERVICE_KEY; None without either.

    Raises ConfigError for what a service would refuse as well, and for a file of digests. Never shows the key.
    """
    if key_file is None:
        key, source = _key_of_environment(), _VARIABLE
        if key is None:
            return None
        lines = _lines(key, source)
    else:
        source = f"key file {key_file}"
        lines = _lines(_content(key_file)[0], source)
    sendable = [line for line in lines if not _DIGEST.fullmatch(line)]
    if not sendable:
        raise ConfigError(f"The {source} holds a digest, from which no key follows; wanted the key itself.")
    return sendable[0].decode("ascii")


def check_key(key: str) -> None:
    """Raise ConfigError for a key that no header can carry, without showing it."""
    if not _VISIBLE.fullmatch(key.encode("utf-8", "surrogatepass")) or len(key) > MAX_KEY_BYTES:
        raise ConfigError(f"key: found one that no header can carry, wanted up to {MAX_KEY_BYTES} visible ASCII signs.")


def _key_of_environment() -> bytes | None:
    key = os.fsencode(os.environ.get(KEY_VARIABLE, ""))
    if b"\n" in key:
        raise ConfigError(f"The {_VARIABLE} has more than one line, wanted one key of visible ASCII.")
    return key or None


def _content(path: str | os.PathLike[str]) -> tuple[bytes, int]:
    """What a key file holds, and its inode. Raises ConfigError."""
    states: list[os.stat_result] = []

    def check(state: os.stat_result) -> None:
        states.append(state)
        if state.st_mode & _OPEN_TO_OTHERS:
            raise ConfigError(
                f"The key file {path} is open to its group or to every user of this machine. Run: chmod 600 {path}"
            )

    try:
        content = read_small_file(path, _MAX_FILE_BYTES + 1, check)
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or "no file can have such a name"
        raise ConfigError(f"The key file {path} cannot be read: {why}.") from None
    if len(content) > _MAX_FILE_BYTES:
        raise ConfigError(f"The key file {path} has more than {_MAX_FILE_BYTES} bytes, {_WANTED}.")
    return content, states[0].st_ino


def _lines(content: bytes, source: str) -> list[bytes]:
    """The lines of a key file, each a key or a digest. What is wrong with them is said without showing them."""
    lines = [line.removesuffix(b"\r") for line in content.removesuffix(b"\n").split(b"\n")]
    if len(lines) > len(NAMES):
        raise ConfigError(f"The {source} has {len(lines)} lines, {_WANTED}.")
    for number, line in enumerate(lines, start=1):
        if not _VISIBLE.fullmatch(line):
            raise ConfigError(f"The {source} has a line {number} that is empty or holds odd characters, {_WANTED}.")
        if len(line) > MAX_KEY_BYTES:
            raise ConfigError(f"The {source} has a line {number} of over {MAX_KEY_BYTES} bytes, {_WANTED}.")
        if line.lower().startswith(_PREFIX) and not _DIGEST.fullmatch(line):
            raise ConfigError(f"The {source} has a line {number} with a digest that is none, {_WANTED}.")
    return lines


def _digest(line: bytes) -> bytes:
    match = _DIGEST.fullmatch(line)
    return bytes.fromhex(match[1].decode("ascii")) if match else sha256(line).digest()


def _is_settled(path: Path) -> bool:
    """Whether the file was last written a while ago. A clock that is wrong may only say so too late."""
    return os.stat(path).st_mtime < time.time() - LOOK_EVERY_S
