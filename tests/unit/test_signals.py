"""SIGINT and SIGTERM, and what a command does about them: each case in a process of its own, without Spark."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from interrupting import Command
from loadcast.system import signals
from loadcast.system.processes import descendants

CODE = Path(__file__).resolve().parents[2] / "Code"
_PROGRAM = """
import os, signal, subprocess, sys, threading, time
sys.path.insert(0, {code!r})
from loadcast.system import signals

def send(signum=signal.SIGINT):
    os.kill(os.getpid(), signum)

def swallow():
    try:
        time.sleep(60)
    except BaseException:
        print("swallowed", flush=True)

with signals.handled(lambda: print("removed", flush=True)):
{body}
    print("done", flush=True)
"""


def program(body: str) -> list[str]:
    return [sys.executable, "-c", _PROGRAM.format(code=str(CODE), body=textwrap.indent(textwrap.dedent(body), "    "))]


def run(body: str) -> tuple[int, list[str], list[str]]:
    """Exit code, and the lines of standard output and error, of a program that sends itself signals."""
    done = subprocess.run(program(body), capture_output=True, text=True, timeout=60)
    return done.returncode, done.stdout.splitlines(), done.stderr.splitlines()


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_a_signal_ends_the_command_with_one_line_after_it_has_cleaned_up(name: str) -> None:
    code, out, errors = run(f"""
        try:
            send(signal.{name})
            time.sleep(60)
        finally:
            print("cleaned up", flush=True)
    """)
    assert code == 128 + signal.Signals[name]
    assert out == ["cleaned up", "removed"]
    assert errors == [f"loadcast: Stopped by {name}; nothing was published."]


@pytest.mark.parametrize("moment", ["before", "after"])
def test_one_that_comes_as_the_handlers_are_put_in_place_ends_the_command_alike(moment: str) -> None:
    """Seen as exit code 1 and two lines, at one of 190 moments of the service's first 0.1 s."""
    sent = {"before": "send(signal.SIGTERM); begin(thread)", "after": "begin(thread); send(signal.SIGTERM)"}[moment]
    patched = f"""
begin = threading.Thread.start
def start(thread):
    threading.Thread.start = begin
    {sent}
threading.Thread.start = start

with signals.handled("""
    text = _PROGRAM.format(code=str(CODE), body="    time.sleep(60)").replace("\nwith signals.handled(", patched)
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (143, "removed\n")
    assert done.stderr.splitlines() == ["loadcast: Stopped by SIGTERM; nothing was published."]


def test_without_a_signal_nothing_changes() -> None:
    assert run("pass") == (0, ["done"], [])
    assert run("sys.exit(4)") == (4, [], [])


def test_a_signal_while_the_interpreter_ends_changes_nothing() -> None:
    # After its last function of atexit the interpreter gives handled signals their default effect, not ignored ones.
    done = subprocess.run(
        [sys.executable, "-c", f"import atexit; atexit.register(lambda: print(states()))\n{program('')[2]}{_STATES}"],
        capture_output=True,
        text=True,
    )
    assert (done.stdout, done.stderr) == ("done\n{'SIG_IGN'}\n", "")


_STATES = """
def states():
    return {signal.getsignal(one).name for one in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
"""


def test_an_interruption_that_got_lost_still_keeps_the_run_from_being_published() -> None:
    code, out, errors = run("""
        send()
        swallow()
        with signals.committing():
            print("published", flush=True)
    """)
    # The handler raises before the sleep: what it interrupts is the call of send.
    assert (code, "published" in out, len(errors)) == (130, False, 1)


def test_one_lost_in_a_callback_of_a_weak_reference_as_well() -> None:
    code, out, errors = run("""
        import weakref
        class Thing: pass
        thing = Thing()
        reference = weakref.ref(thing, lambda _: send())
        del thing
        print("goes on", flush=True)
        with signals.committing():
            print("published", flush=True)
    """)
    assert (code, out) == (130, ["goes on", "removed"])
    assert errors == ["loadcast: Stopped by SIGINT; nothing was published."]


def test_a_run_that_is_being_published_is_published_and_ends_well() -> None:
    code, out, errors = run("""
        with signals.committing():
            send(signal.SIGTERM)
            time.sleep(0.1)
            print("published", flush=True)
        send(signal.SIGTERM)
        time.sleep(0.05)
    """)
    assert (code, out) == (0, ["published", "done"])
    assert errors == ["loadcast: SIGTERM came when the run was being published: ending after that."]


def test_another_librarys_handler_does_not_bring_a_stopped_run_to_be_published() -> None:
    code, out, errors = run("""
        def theirs(signum, frame):
            raise KeyboardInterrupt
        signal.signal(signal.SIGINT, theirs)
        try:
            send()
            time.sleep(60)
        except KeyboardInterrupt:
            time.sleep(0.5)
        with signals.committing():
            print("published", flush=True)
    """)
    assert (code, out, len(errors)) == (130, ["removed"], 1)


def test_an_interruption_that_got_lost_comes_back_before_another_library_gets_the_signals() -> None:
    code, out, errors = run("""
        try:
            send()
        except BaseException:
            pass
        signals.hand_over()
    """)
    assert (code, out, len(errors)) == (130, ["removed"], 1)


def test_handed_over_signals_are_the_other_librarys() -> None:
    assert run("signals.hand_over(); signal.signal(2, lambda *_: print('theirs')); send(); time.sleep(0.1)") == (
        0,
        ["theirs", "done"],
        [],
    )
    code, out, errors = run("signals.hand_over(); send(signal.SIGTERM); time.sleep(60)")
    assert (code, out, errors) == (143, ["removed"], ["loadcast: Stopped by SIGTERM."])


def test_handlers_can_be_taken_back() -> None:
    code, _, errors = run("""
        signal.signal(signal.SIGINT, lambda *_: None)
        signals.take_back()
        send()
        time.sleep(60)
    """)
    assert (code, len(errors)) == (130, 1)


def test_ignored_signals_stay_ignored() -> None:
    body = program("send(); time.sleep(0.1)")
    quiet = "import signal, subprocess, sys; signal.signal(signal.SIGINT, signal.SIG_IGN); "
    done = subprocess.run(
        [sys.executable, "-c", quiet + "sys.exit(subprocess.call(sys.argv[1:]))", *body], capture_output=True, text=True
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "done\n", "")


def test_a_clean_up_that_fails_does_not_change_the_exit_code() -> None:
    code, _, errors = run("signals._guard.at_end = lambda: 1 / 0; send(); time.sleep(60)")
    assert (code, len(errors)) == (130, 1)


def test_threads_that_go_on_keep_nobody_waiting() -> None:
    code, out, _ = run("""
        threading.Thread(target=time.sleep, args=(60,)).start()
        send()
        time.sleep(60)
    """)
    assert (code, out) == (130, ["removed"])


def start(body: str, folder: Path) -> Command:
    script = folder / "program.py"
    script.write_text(program(body)[2])
    command = Command.start([str(script)], folder)
    assert command.wait_for("begun")
    return command


def test_a_main_thread_that_does_not_leave_is_ended_and_what_it_left_removed(tmp_path: Path) -> None:
    command = start(
        """
        signals.CLEAN_UP_S = 0.3
        print("begun", flush=True)
        swallow()
        swallow()
        """,
        tmp_path,
    )
    command.send(signal.SIGTERM)
    assert command.wait(30) == 143
    assert command.family() == []
    assert command.lines[-2:] == ["swallowed", "removed"]


def test_a_second_signal_ends_at_once(tmp_path: Path) -> None:
    command = start('subprocess.Popen(["sleep", "60"]); print("begun", flush=True); swallow(); swallow()', tmp_path)
    command.send(signal.SIGINT)
    assert command.wait_for("swallowed")
    time.sleep(0.3)
    command.send(signal.SIGINT)
    assert command.wait(5) == 130
    assert command.family() == []
    assert "removed" not in command.lines


def test_a_signal_to_the_process_and_to_its_group_is_one(tmp_path: Path) -> None:
    command = start(
        """
        try:
            print("begun", flush=True)
            time.sleep(60)
        finally:
            time.sleep(0.5)
            print("cleaned up", flush=True)
        """,
        tmp_path,
    )
    command.send(signal.SIGINT)
    command.send(signal.SIGINT, to_group=True)
    assert command.wait(30) == 130
    assert "cleaned up" in command.lines


#: A shell that ignores signals, with two children, one of them in a session of its own.
_STUBBORN = "trap '' TERM INT HUP; setsid sleep 60 & sleep 60 & echo begun; wait"


def eventually(holds: Callable[[], bool]) -> bool:
    """Whether it holds within 5 s: the kernel takes its time to start and to bury processes."""
    return any(holds() or time.sleep(0.05) for _ in range(100))


@pytest.mark.parametrize("grace_s", [0.0, 0.2])
def test_no_process_is_left_whatever_it_thinks_of_signals(tmp_path: Path, grace_s: float) -> None:
    body = f"""
        signals.take_back({grace_s})
        child = subprocess.Popen(["sh", "-c", {_STUBBORN!r}])
        child.wait()
    """
    command = start(body, tmp_path)
    assert eventually(lambda: len(command.family()) == 4)
    command.send(signal.SIGTERM)
    assert command.wait(30) == 143
    assert eventually(lambda: command.family() == [])


def test_children_that_leave_when_asked_are_not_killed(tmp_path: Path) -> None:
    child = "import signal, sys; signal.signal(15, lambda *_: sys.exit(print('left', flush=True))); print('begun', flush=True); signal.pause()"  # noqa: E501
    command = start(
        f"""
        signals.take_back(20)
        child = subprocess.Popen([sys.executable, "-c", {child!r}])
        child.wait()
        """,
        tmp_path,
    )
    command.send(signal.SIGINT)
    assert command.wait(30) == 130
    assert "left" in command.lines


@pytest.mark.skipif(shutil.which("ps") is None, reason="this machine has no ps")
def test_without_proc_ps_tells_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    with subprocess.Popen(["sh", "-c", "sleep 60 & wait"]) as child:
        try:
            while len(wanted := descendants(child.pid)) != 1:
                time.sleep(0.01)
            monkeypatch.setattr("loadcast.system.processes._PROCESSES", Path("/nonexistent"))
            assert descendants(child.pid) == wanted
        finally:
            for pid in [*descendants(child.pid), child.pid]:
                os.kill(pid, signal.SIGKILL)


def test_a_library_that_uses_none_of_this_is_not_disturbed() -> None:
    with signals.committing():
        signals.check()
    signals.take_back()
    signals.hand_over()
    assert re.search("SIGTERM", str(signals.stopped_by(signal.SIGTERM)))
