"""Files that are none of a model's: in a bundle they are refused, and in the destination they are not lost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from loadcast import paths
from loadcast.errors import ArtefactError, OutputError
from loadcast.storage import download
from loadcast.storage.download import download_model
from loadcast.storage.output import FolderOutput
from made_up_run import Run, content, files


@pytest.fixture
def bring(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Download a made-up run of these files, with files that its `info` does not list, to `dest`; gives that folder."""

    def download_run(listed: dict[str, bytes], unlisted: dict[str, bytes], everything: bool = False) -> Path:
        run = Run(listed)
        run.files |= unlisted
        run.breaks_after = len(run.files)
        monkeypatch.setattr(download, "files_of_model", lambda output: run)
        download_model(FolderOutput(tmp_path), tmp_path / "dest", everything)
        return tmp_path / "dest"

    return download_run


@pytest.mark.parametrize("name", ["_notes", ".hidden", "_SUCCESS/data", "_delta/part-0", "data2/._SUCCESS.crc.sh"])
def test_hidden_files_that_are_no_marks_of_spark_are_refused(bring: Any, tmp_path: Path, name: str) -> None:
    name = f"stringIndexModel/more/{name}"
    with pytest.raises(ArtefactError, match=f"{name} is not listed there"):
        bring(files(), {name: b"what is this"})
    assert list(tmp_path.iterdir()) == []


def test_marks_and_checksums_of_spark_come_along(bring: Any) -> None:
    marks = {f"mlModel/{name}": b"" for name in ("_SUCCESS", "._SUCCESS.crc", ".part-00000-a.snappy.parquet.crc")}
    dest = bring(files(), marks)
    assert marks.keys() < content(dest).keys()
    assert content(bring(files(), {})).keys().isdisjoint(marks)


@pytest.mark.parametrize("everything", [False, True])
@pytest.mark.parametrize("name", ["mlModel/notes.txt", "mlModel/mine/_notes", "mlModel/.todo", "mlModel/data2"])
def test_files_of_ones_own_inside_a_model_are_not_lost(bring: Any, name: str, everything: bool) -> None:
    dest = bring(files(), {"mlModel/_SUCCESS": b""}, everything)
    (dest / name).parent.mkdir(exist_ok=True)
    (dest / name).write_text("mine")
    before = content(dest)
    with pytest.raises(OutputError, match=f"holds '{name}', which would be lost"):
        bring(files(**{"mlModel/new": b"new"}), {}, everything)
    assert content(dest) == before


def test_notes_and_links_among_tables_are_not_lost(bring: Any, tmp_path: Path) -> None:
    tables = {f"{paths.FEATURES}/part-0.parquet": b"rows", f"{paths.HOURLY}/2016/06/part-0.parquet": b"rows"}
    dest = bring(files(), tables, everything=True)
    bring(files(), tables, everything=True)
    (dest / paths.FEATURES / "part-link").symlink_to(tmp_path)
    with pytest.raises(OutputError, match=r"holds 'mlSource\.parquet/part-link', which would be lost"):
        bring(files(), tables, everything=True)
    (dest / paths.FEATURES / "part-link").unlink()
    (dest / paths.HOURLY / "2016" / "notes.txt").write_text("mine")
    with pytest.raises(OutputError, match=r"holds 'hourlyfeature/2016/notes\.txt', which would be lost"):
        bring(files(), tables, everything=True)


def test_a_model_without_its_info_is_not_taken_for_one(bring: Any) -> None:
    dest = bring(files(), {})
    (dest / paths.INFO).unlink()
    with pytest.raises(OutputError, match="which would be lost"):
        bring(files(), {})
