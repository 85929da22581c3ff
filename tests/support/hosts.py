"""Hosts of the tests: machines with an address and files of their own, which share nothing with this one but a network.

    with running_hosts(folder, ["head", "worker-0", "worker-1"]) as hosts:
        head = hosts["head"]
        head.address                        # such as 198.18.7.34; the SSH server there listens on head.port
        head.user, head.key_file            # who may log in, and the private key for it
        head.host_key                       # its public key, as in a compute file's hostKey
        head.home                           # the user's home folder there, seen from here
        head.run(["java", "-version"])      # a command there, to its end: a CompletedProcess with text
        head.start(["java", …], stdin=PIPE) # a process there: a Popen, whose end ends the process as well
        head.cut()                          # its network is away: the link is down; connections don't notice
        head.restore()
        head.drop_connections()             # the server's processes are killed: connections end at once
        head.new_host_key()                 # another machine stands at its address
        head.reach(10000)                   # 127.0.0.1:10000 there leads to 127.0.0.1:10000 here, such as Azurite
        hosts.laptop                        # the address under which hosts reach this machine

Each host is a set of namespaces: network (a veth pair to a bridge), mounts, processes, host name. Its /root, /home,
/tmp, /var/tmp and /run are its own, and the clone is not there, so whatever takes a path of the client's for one of the
host's fails. Else it has what this machine has: Python, Java, Debian's programs. Paths in `shared` are there, too, as
they are here, such as the folder of a JDK below the clone. Hosts know each other by name, and have no other network.

Namespaces end with their last process, and all processes of a host end with the test process, however that ends; only
a bridge can stay behind, and the next start removes those of dead processes. `network=False` makes a single host
without a network of its own, which reaches what this machine reaches; its address is 127.0.0.1.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from bridges import PREFIX_BITS, ip, running_bridge
from relays import running_relay

_ROOT = Path(__file__).resolve().parents[2]
_OPENSSH = _ROOT / ".venv" / "var" / "ssh"
_SERVER = "/run/openssh/usr/sbin/sshd"
_PATH = "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"
_START_S = 20
#: Mounts are made in the host's namespace alone, and end with it. $1: the host's folder, $2: its name, $3: OpenSSH,
#: $4: the clone, which the host does not have; then the paths that it shares.
_START = """
set -e
mount --make-rprivate /
files=$1 name=$2 openssh=$3 clone=$4
shift 4
echo "$name" > /proc/sys/kernel/hostname
mount -t tmpfs -o mode=755 tmpfs /run
mkdir /run/sshd /run/openssh /run/lock /run/files
mount --bind "$openssh" /run/openssh
mount --bind "$files" /run/files
number=0
for path; do
    number=$((number + 1))
    mkdir "/run/shared-$number"
    mount --bind "$path" "/run/shared-$number"
done
for name in passwd group hosts ssh; do mount --bind "/run/files/etc/$name" "/etc/$name"; done
for name in root home var/tmp tmp; do mount --bind "/run/files/$name" "/$name"; done
if [ -d "$clone" ]; then mount --bind /run/files/nothing "$clone"; fi
number=0
for path; do
    number=$((number + 1))
    mkdir -p "$path"
    mount --bind "/run/shared-$number" "$path"
    umount "/run/shared-$number"
    rmdir "/run/shared-$number"
done
umount /run/files
rmdir /run/files
echo ready
exec > /dev/null
while :; do sleep 1; done
"""


@dataclass
class Host:
    """A running host; the module's docstring has an example."""

    name: str
    folder: Path
    address: str
    port: int
    user: str
    path: str
    _link: str | None = None
    _process: Any = None
    _server: Any = None
    _init: int = 0
    _relays: ExitStack = field(default_factory=ExitStack)

    @property
    def key_file(self) -> Path:
        """The private key that lets its user in."""
        return self.folder / "client_key"

    @property
    def host_key(self) -> str:
        """Its public key, as in known_hosts without the host."""
        return " ".join((self.folder / "etc" / "ssh" / "host_key.pub").read_text().split()[:2])

    @property
    def home(self) -> Path:
        """The user's home folder there, seen from here."""
        return self.folder / self._home.lstrip("/")

    @property
    def _home(self) -> str:
        return "/root" if self.user == "root" else f"/home/{self.user}"

    def command(self, argv: Sequence[str | Path], user: str | None = None) -> list[str]:
        """The command line that runs `argv` there from here, in the home folder of its user or as `root`."""
        identity = (
            [] if (user or self.user) == "root" else ["--reuid", str(_UID), "--regid", str(_UID), "--clear-groups"]
        )
        return [
            *("nsenter", "--target", str(self._init), "--mount", "--uts", "--net", "--pid", "--"),
            *("setpriv", *identity, "--pdeathsig", "KILL", "--"),
            *("sh", "-c", 'cd && exec "$@"', "sh", *map(str, argv)),
        ]

    def environment(self, user: str | None = None) -> dict[str, str]:
        """The variables of a process there: none of this process's."""
        home = "/root" if user == "root" else self._home
        return {"PATH": self.path, "HOME": home, "USER": user or self.user, "LANG": "C.UTF-8"}

    def run(
        self, argv: Sequence[str | Path], user: str | None = None, **options: Any
    ) -> subprocess.CompletedProcess[str]:
        """Run a command there to its end, a good one unless check=False; options as subprocess.run's."""
        defaults = {"check": True, "capture_output": True, "text": True, "stdin": subprocess.DEVNULL}
        if "input" in options:
            del defaults["stdin"]
        if {"stdout", "stderr"} & {*options}:
            del defaults["capture_output"]
        options["env"] = {**self.environment(user), **options.get("env", {})}
        return subprocess.run(self.command(argv, user), **{**defaults, **options})

    def start(self, argv: Sequence[str | Path], user: str | None = None, **options: Any) -> subprocess.Popen[Any]:
        """Start a process there; it is killed when the one that is returned ends, and with the host."""
        options["env"] = {**self.environment(user), **options.get("env", {})}
        return subprocess.Popen(self.command(argv, user), **options)

    def cut(self) -> None:
        """Take its network away, without a word to those who are connected."""
        ip("link", "set", self._link, "down")

    def restore(self) -> None:
        """Give it its network back."""
        ip("link", "set", self._link, "up")

    def reach(self, port: int) -> None:
        """Let its loopback's `port` lead to this machine's, until it ends."""
        self._relays.enter_context(running_relay(self._init, port))

    def drop_connections(self) -> None:
        """Kill the processes that serve connections; what they have started goes on if it can."""
        self.run(["sh", "-c", 'pkill -KILL -P "$(cat /run/sshd.pid)"'], user="root", check=False)

    def new_host_key(self) -> None:
        """Become another host at the same address."""
        for name in ("host_key", "host_key.pub"):
            (self.folder / "etc" / "ssh" / name).unlink()
        _make_key(self.folder / "etc" / "ssh" / "host_key")
        self.drop_connections()
        self._server.kill()
        self._server.wait()
        self._serve()

    def _boot(self, shared: Sequence[Path]) -> None:
        """Start its first process, and give it its network."""
        namespaces = [
            "--mount",
            "--uts",
            "--pid",
            "--fork",
            "--kill-child",
            "--mount-proc",
            *(["--net"] * bool(self._link)),
        ]
        words = ["sh", "-c", _START, "sh", str(self.folder), self.name, str(_OPENSSH), str(_ROOT), *map(str, shared)]
        self._process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", "--", "unshare", *namespaces, "--", *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout.readline() == "ready\n", self._process.stderr.read()
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children")
        self._init = int(children.read_text())

    def _connect(self, bridge: str) -> None:
        """Lay the cable to a bridge."""
        ip("link", "add", self._link, "type", "veth", "peer", "name", "eth0", "netns", str(self._init))
        ip("link", "set", self._link, "master", bridge, "up")
        lines = ("link set lo up", f"address add {self.address}/{PREFIX_BITS} dev eth0", "link set eth0 up")
        for line in lines:
            self.run(["ip", *line.split()], user="root")

    def _serve(self) -> None:
        """Start the SSH server, and wait until it answers."""
        libraries = f"/run/openssh/usr/lib/{os.uname().machine}-linux-gnu"
        with open(self.folder / "sshd.log", "ab") as log:
            self._server = self.start(
                [_SERVER, "-D", "-e", "-f", "/etc/ssh/sshd_config"],
                user="root",
                env={"LD_LIBRARY_PATH": libraries},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        until = time.monotonic() + _START_S
        while True:
            with suppress(OSError), socket.create_connection((self.address, self.port), timeout=1):
                return
            said = (self.folder / "sshd.log").read_text(errors="replace")
            assert self._server.poll() is None, said
            assert time.monotonic() < until, said
            time.sleep(0.02)

    def _end(self) -> None:
        self._relays.close()
        self._process.kill()  # and with it all that runs there
        self._process.communicate()
        if self._server:
            self._server.wait()


class Hosts(dict[str, Host]):
    """Running hosts by name. `laptop` is the address under which they reach this machine."""

    laptop = "127.0.0.1"


def require_hosts() -> None:
    """Skip where no hosts can be made here."""
    if not (_OPENSSH / "usr" / "sbin" / "sshd").exists():
        pytest.skip("OpenSSH's server is not at hand: scripts/setup-ssh.sh")
    missing = [name for name in ("ip", "unshare", "nsenter", "setpriv", "ssh") if shutil.which(name) is None]
    if os.getuid() != 0 or missing:
        pytest.skip(
            f"only root, with ip, unshare, nsenter, setpriv and ssh, can make hosts; missing: {missing or 'root'}"
        )
    tried = subprocess.run(
        ["unshare", "--net", "--mount", "ip", "link", "add", "loadcast", "type", "bridge"],
        capture_output=True,
        text=True,
    )
    if tried.returncode:
        pytest.skip(f"no hosts can be made here: {tried.stderr.strip()}")


@contextmanager
def running_hosts(
    folder: Path,
    names: Sequence[str],
    *,
    user: str = "root",
    programs: Path | None = None,
    shared: Sequence[Path] = (),
    network: bool = True,
) -> Iterator[Hosts]:
    """Hosts while the block runs, with files below `folder`, which has to be new.

    `programs` is a folder of commands that they find before all others; it and `shared` are there as they are here, and
    writable. `user` is who logs in.
    """
    require_hosts()
    assert network or len(names) == 1, "hosts without networks of their own would share a port"
    hosts = Hosts()
    with ExitStack() as stack:
        bridge, addresses = stack.enter_context(running_bridge()) if network else (None, [hosts.laptop, hosts.laptop])
        hosts.laptop = addresses[0]
        known = dict(zip(["laptop", *names], addresses, strict=False))
        for number, name in enumerate(names):
            port, link = (22, f"{bridge}h{number}") if bridge else (_free_port(), None)
            path = f"{programs}:{_PATH}" if programs else _PATH
            host = Host(name, folder / name, known[name], port, user, path, link)
            _write_files(host, known)
            stack.callback(host._end)
            host._boot([*shared, *([programs] if programs else [])])
            if bridge:
                host._connect(bridge)
            host._serve()
            hosts[name] = host
        yield hosts


_UID = 61_000


def _write_files(host: Host, addresses: dict[str, str]) -> None:
    """The files that a host has before it starts."""
    for name in ("etc/ssh", "home", "tmp", "var/tmp", "nothing"):
        (host.folder / name).mkdir(parents=True)
    for name in ("tmp", "var/tmp"):
        (host.folder / name).chmod(0o1777)
    (host.folder / "root").mkdir(mode=0o700)
    (host.home / ".ssh").mkdir(parents=True, mode=0o700)
    host.home.chmod(0o700)
    _make_key(host.folder / "etc" / "ssh" / "host_key")
    _make_key(host.key_file)
    shutil.copy(host.folder / "client_key.pub", host.home / ".ssh" / "authorized_keys")
    for kind, lines in _ACCOUNTS.items():
        known = Path("/etc", kind).read_text()
        more = [line for line in lines if not re.search(f"^{line.partition(':')[0]}:", known, re.MULTILINE)]
        if host.user != "root":
            more.append(
                {"passwd": f"{host.user}:*:{_UID}:{_UID}::{host._home}:/bin/bash", "group": f"{host.user}:x:{_UID}:"}[
                    kind
                ]
            )
        (host.folder / "etc" / kind).write_text(known + "".join(f"{line}\n" for line in more))
    if host.user != "root":
        for path in (host.home, *host.home.rglob("*")):
            os.chown(path, _UID, _UID)
    names = (
        {"localhost": "127.0.0.1", **addresses} if host._link else {"localhost": "127.0.0.1", host.name: "127.0.0.1"}
    )
    (host.folder / "etc" / "hosts").write_text("".join(f"{address} {name}\n" for name, address in names.items()))
    _write_server_settings(host)


def _write_server_settings(host: Host) -> None:
    settings = {
        "Port": str(host.port),
        "ListenAddress": host.address,
        "HostKey": "/etc/ssh/host_key",
        "PidFile": "/run/sshd.pid",
        "UsePAM": "no",
        "PermitRootLogin": "prohibit-password",
        "PasswordAuthentication": "no",
        "AuthorizedKeysFile": ".ssh/authorized_keys",
        "SetEnv": f"PATH={host.path}",
    }
    (host.folder / "etc" / "ssh" / "sshd_config").write_text(
        "".join(f"{name} {value}\n" for name, value in settings.items())
    )


_ACCOUNTS = {"passwd": ["sshd:x:65000:65534::/run/sshd:/usr/sbin/nologin"], "group": []}


def _make_key(path: Path) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)], check=True)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
