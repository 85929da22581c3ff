"""Archives that a cluster's nodes unpack: made once, and put once where all nodes reach them."""

from __future__ import annotations

import getpass
import os
import shutil
import subprocess
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress

from .environments import environment_folder, tool_output
from .state import Refused, locked, read_json, write_json

#: Fast rather than small: each run's nodes wait for it.
_COMPRESSION = 1


def environment_archive(base: str, name: str) -> str:
    """Where an environment's archive lies, once it is made."""
    return os.path.join(base, "archives", f"environment-{os.path.basename(environment_folder(base, name))}.tar.gz")


def pack_environment(base: str, name: str) -> str:
    """Make an environment's archive, unless it is there; returns its path.

    Raises Refused for one whose interpreter lies in a home folder, where the other nodes do not have it.
    """
    folder = environment_folder(base, name)
    interpreter = os.path.realpath(os.path.join(folder, "bin", "python"))
    home = os.path.realpath(os.path.expanduser("~"))
    if not _is_below(interpreter, os.path.realpath(folder)) and _is_below(interpreter, home):
        raise Refused(
            f"the environment's Python is {interpreter}, which the other nodes do not have: "
            "install conda here, or that Python on all nodes outside of home folders"
        )
    return pack(folder, environment_archive(base, name))


def pack(folder: str, archive: str) -> str:
    """Pack what is in a folder, unless the archive is there; returns the archive's path."""
    with locked(archive):
        if not os.path.exists(archive):
            making = f"{archive}.{os.getpid()}"
            write_archive(folder, making)
            os.replace(making, archive)
    return archive


def write_archive(folder: str, archive: str, leave_out: str | None = None) -> None:
    """Write an archive of what is in a folder, but for one path there."""

    def wanted(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
        return None if member.name == leave_out else member

    with tarfile.open(archive, "w:gz", compresslevel=_COMPRESSION) as packed:
        for name in sorted(os.listdir(folder)):
            packed.add(os.path.join(folder, name), name, filter=wanted)


@contextmanager
def _record_of(base: str) -> Iterator[str]:
    """The file that says which archives lie where, for one at a time: an archive that is replaced breaks its users."""
    record = os.path.join(base, "archives", "shipped.json")
    with locked(record):
        yield record


def ship(base: str, archives: Mapping[str, str]) -> tuple[dict[str, str], int]:
    """Put archives where all nodes reach them, those that are not there yet.

    Takes paths by name, and returns addresses by name, and how many bytes were sent.

    Without Hadoop's commands on this machine, the addresses are this machine's paths: spark-submit sends these anew
    for each run.
    """
    command = _file_system()
    if not archives or command is None:
        return dict(archives), sum(map(os.path.getsize, archives.values()))
    with _record_of(base) as record:
        return _ship(record, archives, command)


def _ship(record: str, archives: Mapping[str, str], command: Sequence[str]) -> tuple[dict[str, str], int]:
    known: Mapping[str, str] = read_json(record) if os.path.exists(record) else {}
    addresses = {archive: known[archive] for archive in archives.values() if archive in known}
    there = _those_there(command, list(addresses.values()))
    missing = [archive for archive in archives.values() if addresses.get(archive) not in there]
    if missing:
        folder = os.path.dirname(next(iter(there))) if there else _make_folder(command)
        _asked(command, "-put", "-f", *missing, folder)  # each whole or not at all: Hadoop puts it elsewhere first
        addresses.update({archive: f"{folder}/{os.path.basename(archive)}" for archive in missing})
        write_json(record, {**known, **addresses})
    return {name: addresses[archive] for name, archive in archives.items()}, sum(map(os.path.getsize, missing))


def remove_archive(base: str, name: str) -> None:
    """Remove an environment's archive, here and where nodes reach it; one that cannot be removed there stays there."""
    archive = environment_archive(base, name)
    with _record_of(base) as record:
        known: dict[str, str] = read_json(record) if os.path.exists(record) else {}
        address, command = known.pop(archive, None), _file_system()
        if address and command:
            subprocess.run([*command, "-rm", "-skipTrash", address], stdin=subprocess.DEVNULL, capture_output=True)
            write_json(record, known)
    with suppress(FileNotFoundError):
        os.unlink(archive)


def _file_system() -> list[str] | None:
    """The command for the cluster's file system."""
    for program, word in (("hdfs", "dfs"), ("hadoop", "fs")):
        path = shutil.which(program)
        if path:
            return [path, word]
    return None


def _those_there(command: Sequence[str], addresses: Sequence[str]) -> set[str]:
    if not addresses:
        return set()
    done = subprocess.run([*command, "-ls", "-C", *addresses], stdin=subprocess.DEVNULL, capture_output=True, text=True)
    said = done.stderr.strip().splitlines()
    if done.returncode and not all("No such file" in line for line in said if line.startswith("ls:")):
        raise Refused(f"{os.path.basename(command[0])} -ls: {said[-1]}")
    return {line.strip() for line in done.stdout.splitlines()}


def _make_folder(command: Sequence[str]) -> str:
    """The address of the folder for archives, which nobody else may look into."""
    root = _asked(command, "-df", "/").splitlines()[-1].split()[0].rstrip("/")
    folder = f"{root}/user/{os.environ.get('HADOOP_USER_NAME') or getpass.getuser()}/.loadcast"
    _asked(command, "-mkdir", "-p", folder)
    _asked(command, "-chmod", "700", folder)
    return folder


def _asked(command: Sequence[str], *words: str) -> str:
    return tool_output([*command, *words], f"{os.path.basename(command[0])} {words[0]}")


def _is_below(path: str, folder: str) -> bool:
    return path.startswith(folder.rstrip("/") + "/")


def merged(settings: Mapping[str, str], name: str, values: Sequence[str]) -> dict[str, str]:
    """A setting of Spark's that is a list, with more in it; none where there is nothing to say."""
    both = [*values, *([settings[name]] if settings.get(name) else [])]
    return {name: ",".join(both)} if both else {}
