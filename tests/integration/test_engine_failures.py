"""A Java process that is killed, and disks that are full: told in one line as what they are."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from container_runs import write_sample
from interrupting import GONE_WITHIN_S, ROOT, Command
from loadcast import paths
from loadcast.errors import EngineError, OutputError

pytestmark = [pytest.mark.integration, pytest.mark.slow]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    write_sample(folder, rows=40_000)
    return folder


def write_config(folder: Path, data: Path) -> Path:
    config = folder / "config.json"
    content = {"dataFile": str(data / "*/*/*/*/request.csv"), "duration": "ONE_MONTH"}
    config.write_text(json.dumps({**content, "output": str(folder / "output")}))
    (folder / "temporary").mkdir()
    return config


def java_of(command: Command) -> int | None:
    """The Java process that Spark's launcher has become, not the short one that makes its command line."""
    for pid in command.family():
        try:
            line = Path(f"/proc/{pid}/cmdline").read_bytes()
        except OSError:
            continue
        if b"org.apache.spark.deploy.SparkSubmit" in line and b"org.apache.spark.launcher.Main" not in line:
            return pid
    return None


@pytest.mark.parametrize("after", ["", "Starting Spark"], ids=["as it starts", "as it works"])
def test_a_killed_jvm_is_told_as_that(after: str, data: Path, tmp_path: Path) -> None:
    config = write_config(tmp_path, data)
    command = Command.start(["etl.py", str(config), "--master", "local[2]"], tmp_path / "temporary")
    try:
        assert command.wait_for(after)
        while (java := java_of(command)) is None:
            time.sleep(0.01)
        time.sleep(0.5)
        os.kill(java, signal.SIGKILL)
        code = command.wait(60)
        left = command.left_after(GONE_WITHIN_S)
    finally:
        command.kill()
    told = "\n".join(command.lines)
    assert (code, left) == (EngineError.exit_code, []), told
    assert len(command.said) == 1, told
    assert "was killed by SIGKILL: the machine may be out of memory" in command.said[0]
    assert "--master" not in command.said[0]
    assert [*(tmp_path / "temporary").iterdir()] == []
    assert [path.name for path in (tmp_path / "output" / paths.RUNS).iterdir()] == []


def can_mount() -> bool:
    """Whether this user may mount file systems in a namespace of a process."""
    done = subprocess.run(["unshare", "--mount", "true"], capture_output=True) if shutil.which("unshare") else None
    return done is not None and done.returncode == 0


def run_with_small_disk(
    folder: Path, size: str, words: list[str], **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run a command that sees, in place of a folder, an empty disk of this size."""
    folder.mkdir(exist_ok=True)
    script = 'mount -t tmpfs -o size="$1" tmpfs "$2" && shift 2 && exec "$@"'
    return subprocess.run(
        ["unshare", "--mount", "sh", "-c", script, "sh", size, str(folder), *words],
        capture_output=True,
        text=True,
        env={**os.environ, **variables},
        timeout=180,
    )


def _output(folder: Path) -> Path:
    return folder / "output"


def _temporary(folder: Path) -> Path:
    return folder / "temporary"


@pytest.mark.skipif(not can_mount(), reason="needs the right to mount a small disk")
@pytest.mark.parametrize(
    ("full", "size"),
    [(_output, "200k"), (_output, "600k"), (_temporary, "100k")],
    ids=["output, tables", "output, encoders", "temporary, start"],
)
def test_a_full_disk_is_told_wherever_it_is(
    full: Callable[[Path], Path], size: str, data: Path, tmp_path: Path
) -> None:
    config = write_config(tmp_path, data)
    words = [sys.executable, str(ROOT / "Code/etl.py"), str(config), "--master", "local[2]"]
    done = run_with_small_disk(full(tmp_path), size, words, TMPDIR=str(tmp_path / "temporary"))
    assert done.returncode == OutputError.exit_code, done.stderr
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("loadcast:")]
    assert f"Cannot write to {full(tmp_path)}" in line
    assert "no space left on device" in line.lower()
    assert done.stderr.count("\n") <= 4, done.stderr
