"""Downloading a model: whole and verified or not at all, resumable, and nothing outside its destination."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from loadcast import paths
from loadcast.cli.main import main
from loadcast.errors import ArtefactError, InputError, OutputError
from loadcast.progress import Update
from loadcast.serving.bundle import load_bundle
from loadcast.storage import download
from loadcast.storage.download import download_model
from loadcast.storage.output import FolderOutput
from loadcast.storage.publish import open_run, stage_run
from made_up_run import Run, content, files, info_with

ROOT = Path(__file__).resolve().parents[2]
FOREST = f"{paths.FOREST_MODEL}/data"


@pytest.fixture
def bring(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Download a made-up run to a folder `dest`; gives that folder."""

    def download_run(run: Run, **options: Any) -> Path:
        monkeypatch.setattr(download, "files_of_model", lambda output: run)
        download_model(FolderOutput(tmp_path), tmp_path / "dest", **options)
        return tmp_path / "dest"

    return download_run


@pytest.fixture
def output(tmp_path: Path) -> Path:
    """An output folder with the small bundle of Model/ and a features table."""
    folder = tmp_path / "output"
    with stage_run(folder) as staging:
        shutil.copytree(ROOT / "Model", staging, dirs_exist_ok=True)
        (staging / paths.FEATURES).mkdir()
        (staging / paths.FEATURES / "part-0.parquet").write_bytes(b"features")
    return folder


@pytest.fixture
def config(output: Path, tmp_path: Path) -> Path:
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"dataFile": "none.csv", "duration": "ONE_MONTH", "output": str(output)}))
    return path


def beside(folder: Path) -> list[str]:
    """What lies beside a folder and belongs to no test."""
    return sorted(item.name for item in folder.parent.iterdir() if item.name.startswith("."))


def test_a_local_outputs_model_arrives_whole_and_can_be_served(output: Path, tmp_path: Path) -> None:
    done = download_model(FolderOutput(output), tmp_path / "some" / "dest")
    assert content(tmp_path / "some" / "dest") == content(ROOT / "Model")
    assert done.run == open_run(output, paths.MODEL).name
    assert (done.files, done.size) == (len(content(ROOT / "Model")), sum(map(len, content(ROOT / "Model").values())))
    assert load_bundle(tmp_path / "some" / "dest").model
    assert beside(tmp_path / "some" / "dest") == []


def test_all_artefacts_come_with_everything(output: Path, tmp_path: Path) -> None:
    download_model(FolderOutput(output), tmp_path / "dest", everything=True)
    assert content(tmp_path / "dest") == content(open_run(output))
    assert "mlSource.parquet/part-0.parquet" in content(tmp_path / "dest")


@pytest.mark.parametrize("everything", [False, True])
def test_a_model_that_stands_there_is_replaced(bring: Any, everything: bool) -> None:
    bring(Run(files(**{"mlModel/old": b"old"})), everything=everything)
    dest = bring(Run(files(**{"mlModel/new": b"new"})), everything=everything)
    assert sorted(content(dest)) == sorted([*files(), "info", "mlModel/new"])
    assert beside(dest) == []


def test_the_command_says_where_the_model_is(config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(main, ["download", str(config)])
    assert (result.exit_code, result.stderr) == (0, "")
    assert "is in Model-output (" in result.stdout
    assert content(tmp_path / "Model-output") == content(ROOT / "Model")
    result = CliRunner().invoke(main, ["download", str(config), "here", "--all"])
    assert "Serve it: loadcast serve --model here" in result.stdout


def test_an_output_without_a_model_is_one_error(tmp_path: Path) -> None:
    with pytest.raises(ArtefactError, match="holds no published model"):
        download_model(FolderOutput(tmp_path), tmp_path / "dest")
    assert not (tmp_path / "dest").exists()


# What is interrupted.


def test_an_interrupted_download_goes_on_where_it_stood(bring: Any, tmp_path: Path) -> None:
    run = Run(files())
    run.breaks_after = 3
    with pytest.raises(InputError, match="network"):
        bring(run)
    assert not (tmp_path / "dest").exists()
    first, run.fetched, run.breaks_after = run.fetched, [], 99
    told: list[tuple[int, int]] = []

    @contextmanager
    def progress(title: str) -> Iterator[Update]:
        yield lambda done, total: told.append((done, total))

    dest = bring(run, progress=progress)
    assert sorted([*first, *run.fetched, paths.INFO]) == sorted(run.files)
    total = sum(map(len, run.files.values()))
    assert told[0] == (sum(len(run.files[name]) for name in [*first, paths.INFO]), total)
    assert told[-1] == (total, total)
    assert content(dest) == run.files
    assert beside(dest) == []


def test_a_file_that_was_damaged_meanwhile_is_fetched_again(bring: Any, tmp_path: Path) -> None:
    run = Run(files())
    run.breaks_after = 4
    with pytest.raises(InputError):
        bring(run)
    path = next(tmp_path.glob(".dest-*.download")) / run.fetched[0]
    path.write_bytes(b"9" * len(path.read_bytes()))
    run.breaks_after = 99
    assert content(bring(run)) == run.files


def test_what_an_older_download_left_does_not_get_into_the_model(bring: Any, tmp_path: Path) -> None:
    run = Run(files())
    folder = tmp_path / f".dest-{run.run}.download"
    (folder / "mlModel").mkdir(parents=True)
    (folder / "mlModel" / ".0123-4567.part").write_bytes(b"half")
    (folder / "empty" / "folder").mkdir(parents=True)
    (folder / "link").symlink_to(ROOT)
    older = tmp_path / ".dest-20150101T000000000000Z-000000.download"
    older.mkdir()
    (older / "info").write_bytes(b"{}")
    dest = bring(run)
    assert content(dest) == run.files
    assert sorted(item.name for item in dest.iterdir()) == sorted(paths.BUNDLE)
    assert beside(dest) == []
    assert (ROOT / "Model").exists()


def test_a_run_that_is_removed_meanwhile_is_said_so(bring: Any) -> None:
    run = Run(files())
    run.breaks_after, run.removed = 2, True
    with pytest.raises(ArtefactError, match=r"newer runs have been published\. Start the download again"):
        bring(run)


def test_two_downloads_to_one_place_do_not_mix(bring: Any, tmp_path: Path) -> None:
    run = Run(files())
    folder = tmp_path / f".dest-{run.run}.download"
    folder.mkdir()
    descriptor = os.open(folder, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    with pytest.raises(OutputError, match=r"Another download to .*dest is under way"):
        bring(run)
    os.close(descriptor)
    assert bring(run).exists()


# What is damaged.


def test_a_changed_file_is_refused_and_the_old_model_stays(bring: Any) -> None:
    old = content(bring(Run(files())))
    run = Run(files())
    run.files[FOREST] = b"9876543210"
    with pytest.raises(ArtefactError, match=r"\(1 files\): mlModel/data has another checksum"):
        bring(run)
    run.files[FOREST] = b"0123456789"
    run.fetched.clear()
    dest = bring(run)
    assert run.fetched == [FOREST]  # the rest was good
    assert content(dest) == old


@pytest.mark.parametrize("missing", [*files(), paths.INFO])
def test_a_missing_part_is_refused(bring: Any, missing: str, tmp_path: Path) -> None:
    run = Run(files())
    del run.files[missing]
    with pytest.raises(ArtefactError, match=f"lacks {missing.partition('/')[0]}"):
        bring(run)
    assert list(tmp_path.iterdir()) == []


def test_a_listed_file_that_is_missing_is_refused(bring: Any) -> None:
    with pytest.raises(ArtefactError, match="lacks mlModel/more"):
        bring(Run(files(), listed={"mlModel/more": "00"}))


def test_a_file_that_info_does_not_list_is_refused(bring: Any) -> None:
    run = Run(files())
    run.files["mlModel/extra.parquet"] = b"extra"
    with pytest.raises(ArtefactError, match=r"mlModel/extra\.parquet is not listed there"):
        bring(run)


def test_marks_and_hidden_files_need_no_checksum(bring: Any) -> None:
    run = Run(files())
    run.files["mlModel/_SUCCESS"] = b""
    assert "mlModel/_SUCCESS" in content(bring(run))


@pytest.mark.parametrize(
    "info",
    [b"", b"{", b"[]", b"{}", info_with([]), info_with({"mlModel/data": 5}), b"\xff\xfe", b"[" * 100_000],
)
def test_an_info_that_cannot_be_is_refused(bring: Any, info: bytes) -> None:
    with pytest.raises(ArtefactError, match=r"info of .* cannot be read"):
        bring(Run(files(), info=info))


# What would leave the destination.

HOSTILE_NAMES = [
    "mlModel/../../evil",
    "mlModel/..",
    "mlModel//data2",
    "mlModel/..\\..\\evil",
    "mlModel/c:evil",
    "mlModel/a\nb",
    "mlModel/\x1b[31m",
    "mlModel/" + "x" * 256,
    "mlModel/" + "é" * 200,
]


@pytest.mark.parametrize("name", HOSTILE_NAMES)
def test_a_name_that_leaves_the_destination_is_refused_before_anything_is_fetched(
    bring: Any, tmp_path: Path, name: str
) -> None:
    run = Run(files(**{name: b"evil"}))
    with pytest.raises(ArtefactError, match=r"no path below a folder|both as a file and") as caught:
        bring(run)
    assert caught.value.args[0].isprintable()
    assert run.fetched == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["mlModel/../../evil", "mlModel/c:evil"])
def test_a_hostile_name_in_info_alone_is_refused_too(bring: Any, name: str) -> None:
    with pytest.raises(ArtefactError, match="which is no path below a folder"):
        bring(Run(files(), listed={name: "00"}))


def test_names_of_no_artefact_are_left_alone(bring: Any) -> None:
    run = Run(files())
    wanted = dict(run.files)
    run.files |= {"../evil": b"", "/etc/evil": b"", ".complete": b"", "other/data": b""}
    assert content(bring(run, everything=True)) == wanted


def test_a_name_that_is_both_file_and_folder_is_refused(bring: Any) -> None:
    with pytest.raises(ArtefactError, match="'mlModel/data' both as a file and as a folder"):
        bring(Run(files(**{"mlModel/data/more": b""})))


def test_too_many_files_are_refused(bring: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "MAX_FILES", 3)
    with pytest.raises(ArtefactError, match="more than 3 files"):
        bring(Run(files()))


def test_a_link_in_a_local_run_is_not_followed(output: Path, tmp_path: Path) -> None:
    run = open_run(output)
    secret = tmp_path / "secret"
    secret.write_text("secret")
    (run / "mlModel" / "_link").symlink_to(secret)
    (run / "metrics.json").unlink()
    (run / "metrics.json").symlink_to(secret)
    with pytest.raises(ArtefactError, match=r"lacks metrics\.json"):
        download_model(FolderOutput(output), tmp_path / "dest")


def test_a_link_in_the_place_of_the_gathered_files_is_refused(bring: Any, tmp_path: Path) -> None:
    run = Run(files())
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / f".dest-{run.run}.download").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OutputError, match="is a link"):
        bring(run)
    assert list((tmp_path / "elsewhere").iterdir()) == []


# Where it goes.


def test_a_folder_with_anything_else_is_refused_and_left_as_it_is(bring: Any, tmp_path: Path) -> None:
    (tmp_path / "dest").mkdir()
    (tmp_path / "dest" / "thesis.txt").write_text("mine")
    with pytest.raises(OutputError, match=r"holds 'thesis\.txt', which would be lost"):
        bring(Run(files()))
    assert (tmp_path / "dest" / "thesis.txt").read_text() == "mine"


def test_features_are_not_lost_to_a_bundle(bring: Any) -> None:
    run = Run(files(**{f"{paths.FEATURES}/part": b"rows"}))
    dest = bring(run, everything=True)
    with pytest.raises(OutputError, match=r"holds 'mlSource\.parquet', which would be lost"):
        bring(run)
    assert (dest / paths.FEATURES / "part").exists()


@pytest.mark.parametrize("kind", ["file", "link"])
def test_a_file_or_link_is_refused(bring: Any, tmp_path: Path, kind: str) -> None:
    if kind == "file":
        (tmp_path / "dest").write_text("mine")
    else:
        (tmp_path / "dest").symlink_to(tmp_path)
    with pytest.raises(OutputError, match="is not a folder"):
        bring(Run(files()))


def test_a_full_disk_is_told_before_anything_is_fetched(bring: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: shutil._ntuple_diskusage(10**9, 10**9, 20))
    run = Run(files())
    with pytest.raises(OutputError, match=r"The download needs 0\.0 MB more"):
        bring(run)
    assert run.fetched == []


def test_a_place_that_cannot_be_written_is_one_error(output: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="Cannot write"):
        download_model(FolderOutput(output), tmp_path / "file" / "dest")


def test_a_replacement_that_fails_puts_the_old_model_back(bring: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    dest = bring(Run(files(**{"mlModel/old": b"old"})))
    old = content(dest)
    replace = os.replace

    def failing(source: Any, target: Any) -> None:
        if str(source).endswith(".download"):
            raise OSError(5, "Input/output error")
        replace(source, target)

    monkeypatch.setattr(os, "replace", failing)
    with pytest.raises(OutputError, match="Input/output error"):
        bring(Run(files()))
    assert content(dest) == old


@pytest.mark.parametrize("name", [paths.INFO, paths.METRICS])
def test_a_run_that_cannot_be_read_is_one_error(
    output: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    opened = Path.open

    def refused(path: Path, mode: str = "r", **options: Any) -> Any:
        if path == open_run(output) / name:
            raise PermissionError(13, "Permission denied")
        return opened(path, mode, **options)

    monkeypatch.setattr(Path, "open", refused)
    with pytest.raises(InputError, match=rf"Cannot read .*{name}: Permission denied"):
        download_model(FolderOutput(output), tmp_path / "dest")


def test_the_working_folder_can_take_a_model(output: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    download_model(FolderOutput(output), Path("."))
    assert (tmp_path / "empty" / paths.INFO).is_file()


def test_the_output_itself_is_never_replaced(output: Path) -> None:
    before = sorted(output.rglob("*"))
    with pytest.raises(OutputError, match="would be lost"):
        download_model(FolderOutput(output), output)
    assert sorted(output.rglob("*")) == before
