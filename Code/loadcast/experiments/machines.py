"""Where targets are: this machine, or one that OpenSSH's client reaches. A command there is a command here."""

from __future__ import annotations

import hashlib
import os
import shlex
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from loadcast.errors import ConfigError, EnvironmentNotReadyError
from loadcast.secrets import shown
from loadcast.system.small_files import replace_file

#: What ssh ends with when it is the connection that failed.
_CONNECTION_FAILED = 255
_ASKPASS = '#!/bin/sh\nprintf "%s\\n" "$LOADCAST_SSH_PASSWORD"\n'
_PASSWORD = "LOADCAST_SSH_PASSWORD"
#: Seconds for a connection to come about; an established one is given up after four unanswered questions.
_CONNECT_S, _ALIVE_S, _ALIVE_QUESTIONS = 15, 10, 4
#: Seconds that a connection stays open for the next command.
_PERSIST_S = 60


class ConnectionLost(Exception):
    """The machine could not be reached, or not any more; whether the command has run is not known."""


class CommandFailed(EnvironmentNotReadyError):
    """A command on a machine ended with an exit code of its own."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


class Machine(Protocol):
    """A machine that runs commands."""

    @property
    def name(self) -> str:
        """What people call it."""

    def command(self, words: Sequence[str]) -> list[str]:
        """The command line that runs `words` there, from here."""

    def environment(self) -> Mapping[str, str]:
        """The variables of that command line."""

    def is_lost(self, code: int) -> bool:
        """Whether an exit code says that the connection failed, and not the command."""


@dataclass(frozen=True)
class ThisMachine:
    """The machine that this process runs on."""

    name: str = "this machine"

    def command(self, words: Sequence[str]) -> list[str]:
        """The words themselves."""
        return [*words]

    def environment(self) -> Mapping[str, str]:
        """This process's own."""
        return os.environ

    def is_lost(self, code: int) -> bool:
        """Never."""
        return False


@dataclass(frozen=True)
class SshMachine:
    """A machine by SSH: its key is pinned, nothing is asked on the terminal, and connections are kept open for a while.

    `host_key` is as in known_hosts ("ssh-ed25519 AAAA…"). The user's own ~/.ssh/config holds for what is not said here,
    such as a jump host.
    """

    address: str
    user: str
    host_key: str
    port: int = 22
    key_file: Path | None = None
    password: str | None = field(default=None, repr=False)

    @property
    def name(self) -> str:
        """User and address."""
        return f"{self.user}@{self.address}"

    def command(self, words: Sequence[str]) -> list[str]:
        """By ssh; a shell there takes the words apart again."""
        return [ssh_program("ssh"), *self._options(), "--", self.address, shlex.join(words)]

    def environment(self) -> Mapping[str, str]:
        """With the password, which ssh asks a program for: it is on no command line."""
        if self.password is None:
            return os.environ
        asks = {"SSH_ASKPASS": str(self._askpass()), "SSH_ASKPASS_REQUIRE": "force", _PASSWORD: self.password}
        return {**os.environ, **asks}

    def is_lost(self, code: int) -> bool:
        """Whether it is ssh's own code."""
        return code == _CONNECTION_FAILED

    def _options(self) -> list[str]:
        folder = self._folder()
        known = folder / "known_hosts"
        if not known.exists():
            replace_file(known, f"loadcast {self.host_key}\n".encode(), 0o600)
        options = {
            "BatchMode": "no" if self.password else "yes",
            "StrictHostKeyChecking": "yes",
            "HostKeyAlias": "loadcast",
            "UserKnownHostsFile": _quoted(known),
            "GlobalKnownHostsFile": "/dev/null",
            "UpdateHostKeys": "no",
            "ConnectTimeout": str(_CONNECT_S),
            "ServerAliveInterval": str(_ALIVE_S),
            "ServerAliveCountMax": str(_ALIVE_QUESTIONS),
            "ControlMaster": "auto",
            "ControlPath": _quoted(folder / "connection"),
            "ControlPersist": str(_PERSIST_S),
            "NumberOfPasswordPrompts": "1",
            "ForwardAgent": "no",
            "ForwardX11": "no",
            "LogLevel": "ERROR",
        }
        if self.password:
            options["PreferredAuthentications"] = "password,keyboard-interactive"
        words = ["-T", "-p", str(self.port), "-l", self.user]
        if self.key_file:
            words += ["-o", f"IdentityFile={_quoted(self.key_file)}", "-o", "IdentitiesOnly=yes"]
        return words + [word for name, value in options.items() for word in ("-o", f"{name}={value}")]

    def _askpass(self) -> Path:
        program = self._folder() / "askpass"
        if not program.exists():
            replace_file(program, _ASKPASS.encode(), 0o700)
        return program

    def _folder(self) -> Path:
        """Where ssh's files are: one folder for each machine and way in, with a name short enough for a socket.

        Raises EnvironmentNotReadyError where somebody else has made it.
        """
        way_in = (self.address, self.user, self.port, self.host_key, self.key_file, bool(self.password))
        above = Path(tempfile.gettempdir()) / f"loadcast-ssh-{os.getuid()}"
        for folder in (above, above / hashlib.sha256(repr(way_in).encode()).hexdigest()[:12]):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            about = folder.lstat()
            if not stat.S_ISDIR(about.st_mode) or about.st_uid != os.getuid() or about.st_mode & 0o077:
                raise EnvironmentNotReadyError(f"{folder} is not this user's alone. Remove it, or set TMPDIR.")
        return folder


def run_on(machine: Machine, words: Sequence[str], stdin: bytes = b"") -> bytes:
    """Run a command on a machine; returns what it wrote.

    Raises ConnectionLost where the connection failed, CommandFailed with the command's own last line where it failed
    itself.
    """
    try:
        done = subprocess.run(
            machine.command(words), env=machine.environment(), input=stdin, capture_output=True, check=False
        )
    except OSError as error:
        raise EnvironmentNotReadyError(f"{machine.name}: cannot run {shown(words[0])}: {error.strerror}.") from None
    if done.returncode:
        raise_for(machine, done.returncode, done.stderr)
    return done.stdout


def raise_for(machine: Machine, code: int, errors: bytes) -> None:
    """Raise for a command that ended with an exit code and with these bytes on standard error."""
    lines = errors.decode("utf-8", "replace").strip().splitlines()
    said = shown(lines[-1]) if lines else f"exit code {code}"
    if machine.is_lost(code):
        if any("host key" in line.lower() for line in lines):
            raise ConfigError(
                f"{machine.name} has another host key than the one that was pinned when the target was attached: "
                "somebody may have put another machine in its place. If it was made anew, attach the target again."
            )
        if any("permission denied" in line.lower() for line in lines):
            raise ConfigError(f"{machine.name} refused the login: {said}. Check the target's username and key file.")
        raise ConnectionLost(said)
    raise CommandFailed(f"{machine.name}: {said}", code)


def _quoted(path: Path) -> str:
    """A path in one of ssh's options, which takes words apart and `%` for something else."""
    return '"{}"'.format(str(path).replace("%", "%%"))


def ssh_program(name: str) -> str:
    """The path of one of OpenSSH's programs. Raises EnvironmentNotReadyError where it is missing."""
    program = shutil.which(name)
    if program is None:
        raise EnvironmentNotReadyError(
            f"{name}: found none, wanted OpenSSH's client (Debian or Ubuntu: apt-get install openssh-client)."
        )
    return program
