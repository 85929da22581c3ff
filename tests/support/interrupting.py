"""Commands in processes of their own that are sent a signal at a chosen moment, and what they leave behind."""

from __future__ import annotations

import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
import uuid
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_MARK = "LOADCAST_TEST_MARK"
_POLL_S = 0.01
#: What a command says of a step that is done.
_STEP = re.compile(r"\S.* +\d+\.\d s")
#: What a command has to have ended by, with all that it has started.
GONE_WITHIN_S = 5.0


@dataclass(frozen=True)
class Moment:
    """When a command is sent which signal: `delay_s` after a line with `after` (empty: after signals are handled).

    `to_group`: as a terminal does, to all processes that were started, too.
    """

    script: str
    signum: signal.Signals
    after: str
    delay_s: float
    to_group: bool

    @staticmethod
    def at_random(number: int, scripts: dict[str, tuple[str, ...]]) -> Moment:
        """The moment of this number, for scripts with lines that they say on their way."""
        chance = random.Random(number)
        script = [*scripts][number % len(scripts)]
        after = chance.choice(["", "", *scripts[script]])
        signum = chance.choice([signal.SIGINT, signal.SIGTERM])
        # As often within the first tenth of a second as in the seconds after: each stage is met, on any machine.
        delay_s = 10 ** chance.uniform(-2, 1.2 if not after else 0.3)
        return Moment(script, signum, after, delay_s, to_group=signum == signal.SIGINT and chance.random() < 0.5)

    @property
    def exit_code(self) -> int:
        return 128 + self.signum


@dataclass
class Command:
    """A running command: what it says, as it says it, and the processes that it has started."""

    process: subprocess.Popen[str]
    mark: str
    lines: list[str] = field(default_factory=list)
    _listener: threading.Thread | None = None

    @staticmethod
    def start(argv: list[str], temporary: Path, **variables: str) -> Command:
        """Start an entry script of Code/, with a folder for temporary files."""
        mark = uuid.uuid4().hex
        process = subprocess.Popen(
            [sys.executable, str(ROOT / "Code" / argv[0]), *argv[1:]],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, "TMPDIR": str(temporary), _MARK: mark, **variables},
            start_new_session=True,
        )
        command = Command(process, mark)
        command._listener = threading.Thread(target=command._listen, daemon=True)
        command._listener.start()
        return command

    def _listen(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as output:
            self.lines.extend(line.rstrip("\n") for line in output)

    def wait(self, limit_s: float) -> int:
        """Its exit code; all that it has said is in `lines` then."""
        assert self._listener is not None
        code = self.process.wait(limit_s)
        self._listener.join(GONE_WITHIN_S)
        return code

    def wait_for(self, text: str) -> bool:
        """Whether it has said this, or for an empty text handles signals; False where it ended before."""
        while self.process.poll() is None:
            if self._handles_signals() if not text else any(text in line for line in self.lines):
                return True
            time.sleep(_POLL_S)
        return False

    def _handles_signals(self) -> bool:
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        caught = int(re.search(r"SigCgt:\s*(\w+)", status)[1], 16)  # type: ignore[index]
        return bool(caught >> (signal.SIGTERM - 1) & 1)

    def send(self, signum: signal.Signals, to_group: bool = False) -> None:
        (os.killpg if to_group else os.kill)(self.process.pid, signum)

    def family(self) -> list[int]:
        """All its processes that run."""
        found = []
        for entry in Path("/proc").iterdir():
            try:
                if entry.name.isdigit() and self.mark.encode() in (entry / "environ").read_bytes():
                    found.append(int(entry.name))
            except OSError:  # it has ended
                continue
        return found

    def left_after(self, seconds: float) -> list[int]:
        """The processes that are still there this long after now."""
        end = time.monotonic() + seconds
        while (left := self.family()) and time.monotonic() < end:
            time.sleep(_POLL_S)
        return left

    @property
    def said(self) -> list[str]:
        """What it has said but for its steps."""
        return [line for line in self.lines if not _STEP.fullmatch(line)]

    def kill(self) -> None:
        """End it, whatever it does."""
        for pid in self.family():
            os.kill(pid, signal.SIGKILL)
        self.wait(GONE_WITHIN_S)


def interrupt(command: Command, moment: Moment, limit_s: float = 120) -> tuple[int, float]:
    """Send the signal at its moment; gives the exit code and the seconds until the end."""
    if command.wait_for(moment.after):
        time.sleep(moment.delay_s)
    begin = time.monotonic()
    if command.process.poll() is None:
        command.send(moment.signum, moment.to_group)
    code = command.wait(limit_s)
    return code, time.monotonic() - begin
