"""SIGINT and SIGTERM at any moment: one line, the promised exit code, nothing published and nothing left behind.

LOADCAST_SIGNAL_MOMENTS says at how many moments (12 unless set).
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from container_runs import run_command, write_sample
from interrupting import GONE_WITHIN_S, ROOT, Command, Moment, interrupt
from loadcast import paths

pytestmark = [pytest.mark.integration, pytest.mark.slow]

MOMENTS = int(os.environ.get("LOADCAST_SIGNAL_MOMENTS", "12"))
_SCAN = ("Starting Spark", "Scanning")
#: Commands, and lines that each says on its way.
SCRIPTS = {
    "etl.py": (*_SCAN, "Encoding"),
    "train.py": ("Starting Spark", "Growing", "Scoring"),
    "download_model.py": (),
    "O16Npreprocessing.py": _SCAN,
    "webservice.py": ("Try:",),
}
RUN = "20160630T000000000000Z-abcdef"


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a configuration and, in its output, a run of ETL."""
    folder = tmp_path_factory.mktemp("signals")
    write_sample(folder / "data", rows=40_000)
    content = {"dataFile": str(folder / "data/*/*/*/*/request.csv"), "duration": "ONE_MONTH", "forest": {"numTrees": 5}}
    config = folder / "config.json"
    config.write_text(json.dumps({**content, "output": str(folder / "output")}))
    run_command("etl.py", config, "--master", "local[2]", env={})
    return folder


@pytest.fixture
def work(published: Path, tmp_path: Path) -> Path:
    """The same for one test, with the bundle in Model/ as the run's model, and folders for temporary files."""
    shutil.copytree(published / "output", tmp_path / "output", symlinks=True)
    content = json.loads((published / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**content, "output": str(tmp_path / "output")}))
    shutil.copytree(ROOT / "Model", tmp_path / "output" / paths.RUNS / RUN)
    (tmp_path / "output" / paths.MODEL).symlink_to(Path(paths.RUNS, RUN))
    (tmp_path / "temporary").mkdir()
    return tmp_path


def argv(script: str, work: Path) -> list[str]:
    config = str(work / "config.json")
    if script == "webservice.py":
        return [script, "--model", str(work / "output"), "--port", "0"]
    if script == "download_model.py":
        return [script, config, str(work / "dest")]
    return [script, config, "--master", "local[2]"]


def published_runs(work: Path) -> tuple[list[str], str, str]:
    output = work / "output"
    names = sorted(path.name for path in (output / paths.RUNS).iterdir())
    return names, os.readlink(output / paths.CURRENT), os.readlink(output / paths.MODEL)


@pytest.mark.parametrize("number", range(MOMENTS))
def test_a_signal_at_any_moment_leaves_nothing_behind(number: int, work: Path) -> None:
    moment = Moment.at_random(number, SCRIPTS)
    before = published_runs(work)
    command = Command.start(argv(moment.script, work), work / "temporary")
    try:
        code, seconds = interrupt(command, moment)
        left = command.left_after(GONE_WITHIN_S)
    finally:
        command.kill()
    told = f"{moment}: exit {code} after {seconds:.1f} s\n" + "\n".join(command.lines)
    print(told)
    assert left == [], told
    assert [*(work / "temporary").iterdir()] == [], told
    if code == 0:
        check_done(work, moment, before, told)
    else:
        assert code == moment.exit_code, told
        assert published_runs(work) == before, told
        assert not (work / "dest").exists(), told
        said = [line for line in command.said if not line.startswith(("Try:", "loadcast serves"))]
        assert len(said) == 1, told
        assert said[0].startswith(f"loadcast: Stopped by {moment.signum.name}"), told


def check_done(work: Path, moment: Moment, before: tuple[list[str], str, str], told: str) -> None:
    """What the command was to make is there, whole."""
    assert moment.script != "webservice.py", told
    if moment.script == "download_model.py":
        assert {path.name for path in (work / "dest").iterdir()} == {*paths.BUNDLE}, told
        return
    names, current, model = published_runs(work)
    run = work / "output" / current
    assert current != before[1], told
    assert (model == current) == (moment.script == "train.py"), told
    assert not any(name.startswith(paths.STAGING_PREFIX) for name in names), told
    wanted = (*paths.ARTEFACTS,) if moment.script == "train.py" else (paths.HOURLY, paths.DAILY, paths.QUALITY)
    assert [name for name in wanted if not (run / name).exists()] == [], told
