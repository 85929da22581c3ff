"""Exporting a bundle: all of it, or nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from loadcast import paths
from loadcast.errors import ArtefactError, OutputError
from loadcast.storage.export import export_bundle
from loadcast.storage.publish import stage_run


@pytest.fixture
def output(tmp_path: Path) -> Path:
    folder = tmp_path / "output"
    with stage_run(folder) as staging:
        for name in paths.BUNDLE_FOLDERS:
            (staging / name).mkdir()
            (staging / name / "data").write_text("0123456789")
        (staging / paths.METRICS).write_text("{}")
        (staging / paths.INFO).write_text("{}")
        (staging / paths.FEATURES).mkdir()
    return folder


def test_a_bundle_holds_its_parts_and_nothing_else(output: Path, tmp_path: Path) -> None:
    size = export_bundle(output, tmp_path / "bundle")
    assert sorted(item.name for item in (tmp_path / "bundle").iterdir()) == sorted(
        [*paths.BUNDLE_FOLDERS, paths.METRICS, paths.INFO]
    )
    assert size == 44


def test_a_bundle_that_stands_there_is_replaced(output: Path, tmp_path: Path) -> None:
    dest = tmp_path / "bundle"
    export_bundle(output, dest)
    (dest / paths.INFO).write_text("old")
    export_bundle(output, dest)
    assert (dest / paths.INFO).read_text() == "{}"
    assert sorted(item.name for item in tmp_path.iterdir()) == ["bundle", "output"]


def test_another_folder_is_refused(output: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("")
    with pytest.raises(OutputError, match="no part of a bundle"):
        export_bundle(output, tmp_path / "mine")
    assert (tmp_path / "mine" / "thesis.txt").exists()


def test_a_missing_part_leaves_the_old_bundle(output: Path, tmp_path: Path) -> None:
    dest = tmp_path / "bundle"
    export_bundle(output, dest)
    (output / paths.CURRENT / paths.METRICS).unlink()
    with pytest.raises(ArtefactError, match=r"lacks metrics\.json"):
        export_bundle(output, dest)
    assert (dest / paths.METRICS).exists()


def test_the_output_itself_is_never_replaced(output: Path) -> None:
    before = sorted(output.rglob("*"))
    with pytest.raises(OutputError, match="no part of a bundle"):
        export_bundle(output, output)
    assert sorted(output.rglob("*")) == before


def test_a_file_or_link_is_refused(output: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    for name in ("file", "link"):
        with pytest.raises(OutputError, match="is not a folder"):
            export_bundle(output, tmp_path / name)
    assert (tmp_path / "file").read_text() == "mine"


def test_the_working_folder_can_take_a_bundle(output: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    export_bundle(output, Path("."))
    assert (tmp_path / "empty" / paths.INFO).is_file()


def test_an_output_without_a_model_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ArtefactError, match="holds no published model"):
        export_bundle(tmp_path, tmp_path / "bundle")
