"""Finding files by path or pattern, and sharing their bytes out among tasks."""

from __future__ import annotations

import errno
import glob
import os
import random
import socket
import threading
from pathlib import Path
from typing import Any

import pytest

from loadcast.errors import InputError
from loadcast.storage.files import (
    COMPRESSED_COST,
    SMALLEST_COST,
    SourceFile,
    Split,
    find_files,
    group_splits,
    local_path,
    pack_splits,
    plan_splits,
    unpack_splits,
)

MEGABYTE = 1 << 20


def write(folder: Path, data: bytes, name: str = "request.csv") -> str:
    path = folder / name
    path.write_bytes(data)
    return str(path)


def names(pattern: str) -> list[str]:
    return [file.path for file in find_files(pattern)]


# --- finding --------------------------------------------------------------------------------------------------------


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    for month in ("2016/05", "2016/06", "2017/06"):
        for part in ("a/0", "b/7"):
            folder = tmp_path / month / part
            folder.mkdir(parents=True)
            write(folder, b"x\n")
    return tmp_path


@pytest.mark.parametrize(
    ("pattern", "folders"),
    [
        ("2016/06/a/0/request.csv", ["2016/06/a/0"]),
        ("20[0,1][0-9]/[0,1][0-9]/[a,b]/[0-6]/request.csv", ["2016/05/a/0", "2016/06/a/0", "2017/06/a/0"]),
        ("2016/*/*/*/request.csv", ["2016/05/a/0", "2016/05/b/7", "2016/06/a/0", "2016/06/b/7"]),
        ("**/a/0/*.csv", ["2016/05/a/0", "2016/06/a/0", "2017/06/a/0"]),
        ("201?/05/a/*/request.csv", ["2016/05/a/0"]),
    ],
)
def test_a_path_or_pattern_finds_its_files_sorted(logs: Path, pattern: str, folders: list[str]) -> None:
    wanted = [f"{logs}/{folder}/request.csv" for folder in folders]
    assert names(f"{logs}/{pattern}") == names(f"file://{logs}/{pattern}") == wanted
    assert [(file.path, file.size) for file in find_files(f"file:{logs}/{pattern}")] == [(path, 2) for path in wanted]


PATTERNS = (
    *("*", "**", "*/*", "**/*", "*/**", "**/*.csv", "**/**/*.csv", "**/a/**", "a/**/b/*.csv", "a/**", ".*/*", "**/.*"),
    *("[ab]/*.csv", "[!a]/x.csv", "a//x.csv", "../*/a/x.csv", "./a/*.csv", "*/../a/*.csv", "a/x.csv", "a/missing.csv"),
    *("missing/*.csv", "a/x.csv/*", "*/", "**/", "a?/*"),
)


@pytest.mark.parametrize("start", ["", "absolute"])
@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_pattern_finds_what_glob_finds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pattern: str, start: str
) -> None:
    top = tmp_path / "top"
    for folder in ("", "a", "b", "a/b", "a/b/a", ".hidden", "a/.hidden", "ab"):
        (top / folder).mkdir(parents=True, exist_ok=True)
        for name in ("x.csv", ".x.csv", "x"):
            write(top / folder, b"", name)
    monkeypatch.chdir(top)
    pattern = f"{top}/{pattern}" if start else pattern
    wanted = {os.path.normpath(name) for name in glob.glob(pattern, recursive=True) if os.path.isfile(name)}
    if wanted:
        assert {os.path.normpath(name) for name in names(pattern)} == wanted
    else:
        with pytest.raises(InputError, match="matches no file"):
            find_files(pattern)


HOSTILE_NAMES = (
    *("part[1].csv", "what?.csv", "a*b.csv", "with space.csv", "é\n.csv", "-rf.csv", 'a,"b"\'.csv', "\udcff\r.csv"),
)


@pytest.mark.parametrize("name", HOSTILE_NAMES)
def test_a_file_that_exists_is_found_by_its_very_name_and_by_a_pattern(tmp_path: Path, name: str) -> None:
    path = write(tmp_path, b"", name)
    assert names(f"{tmp_path}/*.csv") == [path]
    write(tmp_path, b"", "other.csv")
    assert [(file.path, file.size) for file in find_files(path)] == [(path, 0)]
    assert find_files(path)[0].shown == path.replace("\udcff", "\\xff")


def test_folders_that_match_a_pattern_are_no_files(tmp_path: Path) -> None:
    (tmp_path / "folder.csv").mkdir()
    path = write(tmp_path, b"x")
    assert [(file.path, file.size) for file in find_files(f"{tmp_path}/*.csv")] == [(path, 1)]


@pytest.mark.parametrize("pattern", ["none.csv", "*/none*.csv", "[z-a].csv", "[", "a\0b", "a\0/*.csv", "x" * 5000])
def test_a_pattern_without_files_is_an_error_that_names_it(tmp_path: Path, pattern: str) -> None:
    with pytest.raises(InputError, match="matches no file") as caught:
        find_files(f"{tmp_path}/{pattern}")
    assert str(tmp_path) in str(caught.value)


def test_a_folder_is_an_error_that_says_what_to_write(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"is a folder; wanted .*/\*/\*\.csv"):
        find_files(f"{tmp_path}/")


@pytest.fixture
def odd_files(tmp_path: Path) -> list[str]:
    """A pipe, a socket, a link to a device, and a link to nothing."""
    os.mkfifo(tmp_path / "pipe.csv")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(os.path.relpath(tmp_path / "socket.csv"))
    (tmp_path / "device.csv").symlink_to("/dev/zero")
    (tmp_path / "nothing.csv").symlink_to(tmp_path / "gone")
    return [entry.path for entry in os.scandir(tmp_path)]


def test_only_regular_files_count(tmp_path: Path, odd_files: list[str]) -> None:
    assert len(odd_files) == 4
    for pattern in (*odd_files, f"{tmp_path}/*.csv"):
        with pytest.raises(InputError, match=r"matches no file .*pipes and devices do not count"):
            find_files(pattern)
    path = write(tmp_path, b"x")
    assert names(f"{tmp_path}/*.csv") == [path]


def test_loops_of_links_end_and_a_file_is_found_once(logs: Path) -> None:
    wanted = names(f"{logs}/**/*.csv")
    for folder in ("2016", "2016/05", "2016/05/a", "2017"):
        for number in range(3):
            (logs / folder / f"loop{number}").symlink_to(logs, target_is_directory=True)
    (logs / "2016/self").symlink_to("self")
    assert names(f"{logs}/**/*.csv") == wanted
    assert names(f"{logs}/2016/*/*/0/request.csv") == [name for name in wanted if "2016" in name and "/0/" in name]


def test_what_a_link_leads_to_is_found_once_under_its_first_name(logs: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    write(elsewhere, b"x")
    (logs / "2016/linked").symlink_to(elsewhere, target_is_directory=True)
    (logs / "2016/linked/newest.csv").symlink_to("request.csv")
    assert names(f"{logs}/2016/linked/*.csv") == [f"{logs}/2016/linked/newest.csv"]
    assert f"{logs}/2016/linked/newest.csv" in names(f"{logs}/2016/**/*.csv")
    assert len(names(f"{logs}/**/*.csv")) == 7


def test_hard_links_are_files_of_their_own(tmp_path: Path) -> None:
    path = write(tmp_path, b"x", "1.csv")
    os.link(path, tmp_path / "2.csv")
    assert len(find_files(f"{tmp_path}/*.csv")) == 2


@pytest.mark.parametrize("pattern", ["*/*.csv", "**/*.csv", "2016/request.csv"])
def test_a_folder_that_cannot_be_read_is_an_error_that_names_it(
    logs: Path, monkeypatch: pytest.MonkeyPatch, pattern: str
) -> None:
    """Else its files would be missing from the result, and nobody would know."""

    def refusing(look: Any) -> Any:
        def refuse(path: str, *rest: Any) -> Any:
            if str(path).startswith(f"{logs}/2016"):
                raise PermissionError(errno.EACCES, "Permission denied", path)
            return look(path, *rest)

        return refuse

    name = "stat" if pattern.startswith("2016") else "scandir"
    monkeypatch.setattr(os, name, refusing(getattr(os, name)))
    with pytest.raises(InputError, match=rf"in {logs}/2016.*: Permission denied\. Make it readable, or leave it out"):
        find_files(f"{logs}/{pattern}")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_folder_without_permission_is_an_error_but_not_the_file_system_s_own(logs: Path) -> None:
    (logs / "lost+found").mkdir(mode=0)
    assert len(names(f"{logs}/**/*.csv")) == 6
    (logs / "2017").chmod(0)
    with pytest.raises(InputError, match="Permission denied"):
        find_files(f"{logs}/**/*.csv")
    for name in ("lost+found", "2017"):
        (logs / name).chmod(0o700)


def test_two_thousand_small_files_are_found_with_one_look_at_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(2_000):
        folder = tmp_path / f"{number // 100:02}"
        folder.mkdir(exist_ok=True)
        write(folder, b"x" * (number % 7), f"{number}.csv")
    looked: list[str] = []
    look = os.stat
    monkeypatch.setattr(os, "stat", lambda path, *rest, **more: (looked.append(path), look(path, *rest, **more))[1])
    files = find_files(f"{tmp_path}/*/*.csv")
    assert sorted(int(Path(file.path).stem) for file in files) == list(range(2_000))
    assert all(file.size == int(Path(file.path).stem) % 7 for file in files)
    assert len(looked) <= 2_010
    tasks = group_splits(plan_splits(files, 64 * MEGABYTE), 64 * MEGABYTE)
    assert 2_000 * SMALLEST_COST / (96 * MEGABYTE) <= len(tasks) <= 2_000 * SMALLEST_COST / (48 * MEGABYTE) + 1


def test_files_that_come_and_go_while_they_are_looked_for_do_no_harm(tmp_path: Path) -> None:
    write(tmp_path, b"x", "stays.csv")
    done = threading.Event()

    def churn() -> None:
        while not done.is_set():
            os.unlink(write(tmp_path, b"x", f"{random.random()}.csv"))

    other = threading.Thread(target=churn)
    other.start()
    try:
        for _ in range(200):
            assert f"{tmp_path}/stays.csv" in names(f"{tmp_path}/*.csv")
    finally:
        done.set()
        other.join()


# --- URLs -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("data/a.csv", "data/a.csv"),
        ("/data/a:b.csv", "/data/a:b.csv"),
        ("file:/data/a.csv", "/data/a.csv"),
        ("file:///data/a.csv", "/data/a.csv"),
        ("FILE://localhost/data/a.csv", "/data/a.csv"),
        ("file:data/a.csv", "data/a.csv"),
        ("file:///data/a%20b%5B1%5D.csv", "/data/a b[1].csv"),
        ("file:///data/[0-6]/a?.csv#1", "/data/[0-6]/a?.csv#1"),
    ],
)
def test_a_file_url_is_the_path_behind_it(url: str, path: str) -> None:
    assert local_path(url) == path


@pytest.mark.parametrize("url", ["wasbs://c@a.blob.core.windows.net/x", "hdfs:/x", "https://me:secret@host/x", "s3:x"])
def test_another_url_is_an_error_that_names_its_kind_and_no_secret(url: str) -> None:
    with pytest.raises(InputError, match=f"^{url.partition(':')[0]}: URLs cannot be read") as caught:
        local_path(url)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("url", ["file://other/data/a.csv", "file://20[0,1]/a.csv"])
def test_a_file_url_of_another_machine_is_an_error(url: str) -> None:
    with pytest.raises(InputError, match="file: URLs of another machine"):
        local_path(url)


# --- sharing out ----------------------------------------------------------------------------------------------------


def synthetic(sizes: list[int], suffix: str = ".csv") -> list[SourceFile]:
    return [SourceFile(f"/logs/{number:06}{suffix}", size, "0") for number, size in enumerate(sizes)]


def task_costs(tasks: list[list[Split]]) -> list[int]:
    return [sum(split.cost for split in task) for task in tasks]


def mixed_sizes(number: int) -> list[int]:
    """From none to four gigabytes, small ones most often."""
    rng = random.Random(1)
    return [int(rng.choice((0, 1e3, 1e5, 1e7, 1e9, 4e9)) * rng.random() ** 3) for _ in range(number)]


TARGET = 64 * MEGABYTE
SHAPES = {
    "mixed": mixed_sizes(3_000),
    "tiny": [10] * 3_000,
    "empty": [0] * 3_000,
    "a bit more than a task": [TARGET + 1] * 300,
    "a bit more than half": [TARGET // 2 + 1] * 300,
    "three quarters": [TARGET * 3 // 4 - 1] * 300,
    "large": [3 << 30] * 20,
    "one large among tiny": [10] * 1_500 + [5 << 30] + [10] * 1_500,
}


@pytest.mark.parametrize("shape", SHAPES)
def test_tasks_are_even(shape: str) -> None:
    costs = task_costs(group_splits(plan_splits(synthetic(SHAPES[shape]), TARGET), TARGET))
    assert max(costs) <= 1.5 * TARGET
    # But for the last, a task is less than half full only where the next split would have made it too large.
    assert sum(cost < TARGET // 2 for cost in costs) <= 1
    assert costs == sorted(costs, reverse=True)


@pytest.mark.parametrize("suffix", [".csv.gz", ".csv.zst", ".csv.zstd"])
def test_a_compressed_file_stays_whole_counts_as_what_it_holds_and_starts_first(suffix: str) -> None:
    files = [*synthetic(mixed_sizes(500)), *synthetic([1 << 30, 3 << 30, 20 * MEGABYTE, 10], suffix)]
    tasks = group_splits(plan_splits(files, TARGET), TARGET)
    first = [split.file.path for task in tasks[:2] for split in task]
    assert first == [f"/logs/000001{suffix}", f"/logs/000000{suffix}"]
    assert tasks[0][0].cost == COMPRESSED_COST * (3 << 30)
    assert all(len(task) == 1 or cost <= 1.5 * TARGET for task, cost in zip(tasks, task_costs(tasks), strict=True))


def test_a_hundred_thousand_files_are_shared_out_evenly() -> None:
    files = synthetic(mixed_sizes(100_000))
    tasks = group_splits(plan_splits(files, TARGET), TARGET)
    assert max(task_costs(tasks)) <= 1.5 * TARGET
    assert max(map(len, tasks)) <= 1.5 * TARGET / SMALLEST_COST
    assert sum(split.end - split.start for task in tasks for split in task) == sum(file.size for file in files)


@pytest.mark.parametrize("name", HOSTILE_NAMES)
def test_splits_travel_as_text_whatever_the_file_is_called(name: str) -> None:
    splits = plan_splits([SourceFile(f"/logs/{name}", 1 << 60, "1464739500123456789")], 1 << 58)
    assert len(splits) == 4
    assert unpack_splits(pack_splits(splits)) == splits
    assert pack_splits(splits).isascii()
