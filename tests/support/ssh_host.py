"""A host that is reached by SSH: OpenSSH's own server with a home folder, and nothing of the tests' own folders.

It runs in a mount namespace of its own, where it has a user `sshd`, a /run and a home; what its scripts see of /tmp is
theirs alone. So whatever takes the client's files for the host's fails.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

_SERVER = Path(__file__).resolve().parents[2] / ".venv" / "var" / "ssh"
_PROGRAM = _SERVER / "usr" / "sbin" / "sshd"
_USER = "root"
#: Mounts are made in the namespace alone, and end with it. $1: the host's folder, $2: sshd, $3: its configuration.
_START = """
set -e
mount --make-rprivate /
cat /etc/passwd > "$1/passwd"
grep -q '^sshd:' "$1/passwd" || echo 'sshd:x:65000:65534::/run/sshd:/usr/sbin/nologin' >> "$1/passwd"
mount --bind "$1/passwd" /etc/passwd
mount --bind "$1/home" /root
mount -t tmpfs tmpfs /run
mkdir /run/sshd
exec "$2" -D -e -f "$3"
"""


@dataclass
class SshHost:
    """A running host. `key_file` is the private key that lets its user in."""

    folder: Path
    port: int
    key_file: Path

    address = "127.0.0.1"
    user = _USER

    @property
    def home(self) -> Path:
        """The user's home folder there, seen from here."""
        return self.folder / "home"

    def sessions(self) -> list[int]:
        """The processes that serve connections."""
        server = self._process.pid
        done = subprocess.run(["pgrep", "-P", str(server)], capture_output=True, text=True)
        return [int(line) for line in done.stdout.split()]

    def cut(self) -> None:
        """Cut all connections, as a network does that is gone."""
        for process in self.sessions():
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)

    def new_host_key(self) -> None:
        """Become another host at the same address."""
        (self.folder / "host_key").unlink()
        (self.folder / "host_key.pub").unlink()
        _make_key(self.folder / "host_key")
        self.stop()
        self.start()

    def start(self) -> None:
        environment = {**os.environ, "LD_LIBRARY_PATH": str(_SERVER / "usr" / "lib" / "x86_64-linux-gnu")}
        with open(self.folder / "sshd.log", "ab") as log:
            words = ["unshare", "--mount", "sh", "-c", _START, "sh", str(self.folder), str(_PROGRAM)]
            self._process = subprocess.Popen(
                [*words, str(self.folder / "sshd_config")],
                env=environment,
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
            )
        until = time.monotonic() + 20
        while True:
            with suppress(OSError), socket.create_connection((self.address, self.port), timeout=1):
                return
            said = (self.folder / "sshd.log").read_text(errors="replace")
            assert self._process.poll() is None, said
            assert time.monotonic() < until, said
            time.sleep(0.05)

    def stop(self) -> None:
        self.cut()
        self._process.terminate()
        self._process.wait(timeout=20)


def _make_key(path: Path) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)], check=True)


def require_ssh_host() -> None:
    """Skip where no host can be made here."""
    if not _PROGRAM.exists():
        pytest.skip("OpenSSH's server is not at hand: scripts/setup-ssh.sh")
    if os.getuid() != 0 or shutil.which("unshare") is None or shutil.which("ssh") is None:
        pytest.skip("only root, with unshare and OpenSSH's client, can make a host")


@contextmanager
def running_ssh_host(folder: Path, programs: Path | None = None) -> Iterator[SshHost]:
    """A host while the block runs; `programs` is a folder of commands that it finds before all others."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    (folder / "home" / ".ssh").mkdir(parents=True, mode=0o700)
    (folder / "home").chmod(0o700)
    _make_key(folder / "host_key")
    _make_key(folder / "client_key")
    shutil.copy(folder / "client_key.pub", folder / "home" / ".ssh" / "authorized_keys")
    settings = {
        "Port": str(port),
        "ListenAddress": "127.0.0.1",
        "HostKey": str(folder / "host_key"),
        "PidFile": "none",
        "UsePAM": "no",
        "PermitRootLogin": "prohibit-password",
        "PasswordAuthentication": "no",
        "AuthorizedKeysFile": "/root/.ssh/authorized_keys",
        "SetEnv": f"PATH={f'{programs}:' if programs else ''}/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",
    }
    (folder / "sshd_config").write_text("".join(f"{name} {value}\n" for name, value in settings.items()))
    host = SshHost(folder, port, folder / "client_key")
    host.start()
    try:
        yield host
    finally:
        host.stop()
