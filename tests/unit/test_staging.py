"""A run on its way, in a folder: what it carries of the run before is never touched."""

from __future__ import annotations

from pathlib import Path

import pytest

from loadcast import paths
from loadcast.errors import OutputError
from loadcast.storage.output import FolderOutput
from loadcast.storage.table_files import FolderTables

MONTH = "hourlyfeature/2016/06"


def publish(output: FolderOutput, **files: str) -> None:
    with output.stage() as staging:
        for name, text in files.items():
            write(staging.folder, f"{MONTH}/{name}", text)


def write(folder: Path, name: str, text: str) -> None:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(text)


def content(folder: Path) -> dict[str, str]:
    files = (file for file in folder.rglob("*") if file.is_file() and file.name != paths.COMPLETE)
    return {file.relative_to(folder).as_posix(): file.read_text() for file in files}


def test_fresh_parts_stand_in_the_place_of_carried_ones(tmp_path: Path) -> None:
    output = FolderOutput(tmp_path)
    publish(output, one="old", two="old")
    before = (tmp_path / "current").resolve()
    with output.stage(carry=["hourlyfeature"]) as staging:
        with staging.fresh_tables.writing() as folder:
            write(folder, f"{MONTH}/one", "new")
            write(folder, "dailyfeature/2016/06/one", "new")
            write(folder, "dailyfeature/2016/07/one", "left out")
        staging.replace([MONTH, "dailyfeature/2016/06"])
    assert content(tmp_path / "current") == {f"{MONTH}/one": "new", "dailyfeature/2016/06/one": "new"}
    assert content(before) == {f"{MONTH}/one": "old", f"{MONTH}/two": "old"}


def test_tables_keep_what_is_named_and_miss_what_is_not_there(tmp_path: Path) -> None:
    tables = FolderTables(str(tmp_path))
    for name in ("one", "two"):
        write(tmp_path, f"{MONTH}/{name}", name)
    tables.keep_only(["hourlyfeature"], [f"{MONTH}/one"])
    assert content(tmp_path) == {f"{MONTH}/one": "one"}
    with pytest.raises(OutputError, match=r"three: found nothing, though a worker has written it \(1 such files\)"):
        tables.keep_only(["hourlyfeature"], [f"{MONTH}/one", f"{MONTH}/three"])


def test_a_table_s_files_are_named_in_order_without_hidden_ones(tmp_path: Path) -> None:
    tables = FolderTables(str(tmp_path))
    for name in (
        "part-2.parquet",
        "part-1.parquet",
        "._1.parquet",
        ".part-1.parquet.crc",
        "_SUCCESS",
        "a/part-3.parquet",
    ):
        write(tmp_path, f"{MONTH}/{name}", "")
    assert tables.names("hourlyfeature") == [
        f"{MONTH}/{name}" for name in ("a/part-3.parquet", "part-1.parquet", "part-2.parquet")
    ]
    assert tables.names("dailyfeature") == []


def test_a_carried_table_is_where_tasks_find_it(tmp_path: Path) -> None:
    output = FolderOutput(tmp_path)
    publish(output, **{"part-1.parquet": "old"})
    with output.stage(carry=["hourlyfeature"]) as staging:
        tables = staging.carried_tables("hourlyfeature")
        (name,) = tables.names("hourlyfeature")
        with tables.reading(name) as path:
            assert path.read_text() == "old"
