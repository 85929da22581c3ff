"""Class data sharing: the classes that a JVM has loaded, kept in a file, from which the next JVM starts seconds sooner.

Starting Spark and its first query loads some 20,000 classes. The first run on one machine leaves an archive of them
(about 190 MB) as its JVM ends, a few seconds after the command itself; later runs map it into memory. The JVM checks
that the archive was made by the same Java from the same jars, and goes on without it where it was not.
"""

from __future__ import annotations

import hashlib
import os
import re
import sys
import time
from pathlib import Path

from pyspark.version import __version__

#: How the file of a complete archive begins: the JVM writes this last.
_MAGIC = (0xF00BABA8).to_bytes(4, sys.byteorder)
_BEING_WRITTEN_S = 120
#: What Spark takes apart on an option's way to the JVM, and the colon that the JVM takes to stand between two archives.
_AWKWARD = re.compile(r"""[\s'"\\:]""")


def archive_options(java_home: Path, kind: str, folder: Path | None = None) -> list[str]:
    """JVM options that use this Java's archive, or leave one at the JVM's end where there is none.

    `kind` names what the JVM does: each kind loads classes of its own.

    None of either where the folder (the environment's, or the user's cache) cannot be written or has an awkward name.
    """
    archive = (folder or _folder()) / f"{kind}-{_key(java_home)}.jsa"
    if is_awkward(archive):
        return []
    quiet = ["-Xshare:auto", "-Xlog:disable", "-Xlog:all=error:stderr"]
    if _is_complete(archive):
        return [f"-XX:SharedArchiveFile={archive}", *quiet]
    try:
        archive.parent.mkdir(parents=True, exist_ok=True)
        if archive.exists() and time.time() - archive.stat().st_mtime < _BEING_WRITTEN_S:
            return []
    except OSError:
        return []
    return [f"-XX:ArchiveClassesAtExit={archive}", *quiet] if os.access(archive.parent, os.W_OK) else []


def is_awkward(path: Path) -> bool:
    """Whether a path cannot stand in an option of the JVM."""
    return _AWKWARD.search(str(path)) is not None


def _folder() -> Path:
    if sys.prefix != sys.base_prefix:
        return Path(sys.prefix, "var", "loadcast")
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "loadcast")


def _key(java_home: Path) -> str:
    """What an archive depends on, as a short text."""
    release = java_home / "release"
    java = release.read_bytes() if release.is_file() else b""
    parts = [str(java_home).encode(), java, __version__.encode()]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()[:16]


def _is_complete(archive: Path) -> bool:
    try:
        with open(archive, "rb") as file:
            return file.read(len(_MAGIC)) == _MAGIC
    except OSError:
        return False
