"""A signal while a run is made, uploaded and published: its pointers are written, all of them, or nothing is left."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from azurite import Azurite
from loadcast import paths
from loadcast.settings import parse_settings
from loadcast.storage.output import Output, open_output

pytestmark = [pytest.mark.integration, pytest.mark.slow]

CODE = Path(__file__).resolve().parents[2] / "Code"
_PROGRAM = """
import json, os, signal, sys
from loadcast import paths
from loadcast.system import signals, temporary
from loadcast.settings import parse_settings
from loadcast.storage import publish
from loadcast.storage.blob.container import Container
from loadcast.storage.blob.store import ContainerStore
from loadcast.storage.output import open_output

def then_signal(kind, name):
    original = getattr(kind, name)
    def changed(*words, **options):
        result = original(*words, **options)
        os.kill(os.getpid(), signal.SIGTERM)
        return result
    setattr(kind, name, changed)

when = sys.argv[1]
if when == "uploading":
    then_signal(Container, "upload")
if when == "publishing":
    then_signal(ContainerStore, "replace")
    then_signal(publish, "replace_link")
with signals.handled(temporary.remove_own):
    with open_output(parse_settings(json.loads(sys.argv[2]))).stage() as staging:
        (staging.folder / paths.QUALITY).write_text("new")
        (staging.folder / paths.FOREST_MODEL).mkdir()
        (staging.folder / paths.FOREST_MODEL / "data").write_text("new")
        if when == "working":
            os.kill(os.getpid(), signal.SIGTERM)
            raise RuntimeError("it goes on")
    print("published")
"""


@pytest.fixture(params=["folder", "container"])
def settings(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """A configuration with an output that holds a published run, `old`, with a model."""
    monkeypatch.setenv("LOADCAST_CACHE", str(tmp_path / "cache"))
    plain = {"dataFile": "none", "duration": "ONE_MONTH"}
    if request.param == "folder":
        settings = {**plain, "output": str(tmp_path / "output")}
    else:
        azurite: Azurite = request.getfixturevalue("azurite")
        monkeypatch.setenv("AZURE_STORAGE_KEY", azurite.key)
        own = {"storageAccount": azurite.account, "storageEndpoint": azurite.endpoint}
        settings = {**plain, **own, "storageContainer": azurite.new_container(), "storageKey": "env:AZURE_STORAGE_KEY"}
    with open_output(parse_settings(settings)).stage() as staging:
        (staging.folder / paths.QUALITY).write_text("old")
        (staging.folder / paths.FOREST_MODEL).mkdir()
        (staging.folder / paths.FOREST_MODEL / "data").write_text("old")
    return settings


@pytest.fixture
def run(settings: dict[str, str], tmp_path: Path) -> Callable[[str], subprocess.CompletedProcess[str]]:
    """Publish `new`, with a signal meanwhile."""
    (tmp_path / "temporary").mkdir()
    environment = {**os.environ, "PYTHONPATH": str(CODE), "TMPDIR": str(tmp_path / "temporary")}
    return lambda when: subprocess.run(
        [sys.executable, "-c", _PROGRAM, when, json.dumps(settings)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )


def read(output: Output) -> list[str]:
    """What readers of `current` and `model` find."""
    folder = output.at_hand({paths.CURRENT: [paths.QUALITY], paths.MODEL: [paths.QUALITY]})
    return [(folder / link / paths.QUALITY).read_text() for link in (paths.CURRENT, paths.MODEL)]


def traces(settings: dict[str, str], tmp_path: Path) -> list[str]:
    """Names of all runs of which there is anything."""
    output = open_output(parse_settings(settings))
    if "output" in settings:
        return sorted(path.name for path in (tmp_path / "output" / paths.RUNS).iterdir())
    names = [blob.name for blob in output.container.list()]  # type: ignore[attr-defined]
    return sorted({name.split("/")[1] for name in names if name.startswith(f"{paths.RUNS}/")})


@pytest.mark.parametrize("when", ["working", "uploading"])
def test_before_the_pointers_nothing_is_left(
    when: str,
    settings: dict[str, str],
    run: Callable[[str], subprocess.CompletedProcess[str]],
    tmp_path: Path,
) -> None:
    if when == "uploading" and "output" in settings:
        pytest.skip("a folder needs no uploads")
    before = traces(settings, tmp_path)
    done = run(when)
    assert (done.returncode, done.stdout) == (143, ""), done.stderr
    assert done.stderr == "loadcast: Stopped by SIGTERM; nothing was published.\n"
    output = open_output(parse_settings(settings))
    assert read(output) == ["old", "old"]
    assert traces(settings, tmp_path) == before
    assert [*(tmp_path / "temporary").iterdir()] == []
    with output.stage():  # the lock was given back
        pass


def test_once_they_are_being_written_the_run_is_published_whole(
    settings: dict[str, str], run: Callable[[str], subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    done = run("publishing")
    assert (done.returncode, done.stdout) == (0, "published\n"), done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert read(open_output(parse_settings(settings))) == ["new", "new"]
    assert len(traces(settings, tmp_path)) == 2
    assert [*(tmp_path / "temporary").iterdir()] == []
