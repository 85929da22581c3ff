"""The benchmarks' harness: turns, medians, ratios, table, JSON, data kept, processes measured."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from bench import data, results
from bench.contender import WORK_SECONDS, LearnJob, arguments, save_job, timed_work
from bench.data import Arguments, make_sample
from bench.harness import Contender, Run, Scale, last_json, median_ratio, run_contender, summarize, take_turns
from bench.processes import measure
from loadcast.cli.main import main

A, B = Contender("A", ["a"]), Contender("B", ["b"])


def _run(seconds: float, work: float | None = None, proportional: int | None = None) -> Run:
    return Run(seconds, work, 2_000_000_000, proportional)


def test_contenders_take_turns() -> None:
    seen: list[str] = []

    def run(contender: Contender) -> Run:
        seen.append(contender.name)
        return _run(len(seen))

    runs = take_turns([A, B], 3, run)
    assert seen == ["A", "B"] * 3
    assert [item.seconds for item in runs["B"]] == [2, 4, 6]


def test_a_summary_has_medians_and_the_ratios_of_the_same_rounds() -> None:
    ours = [_run(10, 8), _run(20, 16), _run(12, 10)]
    theirs = [_run(5, 4, 10**9), _run(30, 8, 3 * 10**9), _run(6, 5, 2 * 10**9)]
    row = summarize("other", theirs, Scale(3_000_000_000, 2, ours), "a note")
    assert (row.seconds, row.least_seconds, row.most_seconds, row.work_seconds) == (6, 5, 30, 5)
    assert (row.megabytes_per_second, row.megabytes_per_second_and_core) == (500, 250)
    assert (row.resident_gigabytes, row.proportional_gigabytes) == (2, 2)
    # The second round was slow for both: its ratio of 1.5 counts once, as do the 0.5 of the others.
    assert (row.ratio, row.work_ratio, row.note) == (0.5, 0.5, "a note")


def test_what_is_unknown_stays_unknown() -> None:
    row = summarize("other", [_run(5), _run(6)], Scale())
    assert row.seconds == 5.5
    assert (row.work_seconds, row.megabytes_per_second, row.megabytes_per_second_and_core) == (None, None, None)
    assert (row.proportional_gigabytes, row.ratio, row.work_ratio) == (None, None, None)


@pytest.mark.parametrize(
    ("values", "reference", "ratio"),
    [
        ([2, 4, 9], [1, 1, 1], 4),
        ([2, 4], [1, 2], 2),
        ([2, None], [1, 1], None),
        ([2, 4], [1, None], None),
        ([2], [0], None),
        ([2, 4], [1], None),
        ([], [], None),
    ],
)
def test_a_ratio_needs_both_in_every_round(
    values: list[float | None], reference: list[float | None], ratio: float | None
) -> None:
    assert median_ratio(values, reference) == ratio


def _shown(rows: list[results.Summary]) -> str:
    console = Console(width=200, color_system=None)
    with console.capture() as capture:
        console.print(results.results_table("Title", rows))
    return capture.get()


def test_the_table_has_the_columns_that_some_contender_fills() -> None:
    ours = [_run(10, 8)]
    rows = [
        summarize("ours", ours, Scale(10**9, 2, ours)),
        summarize("other [b]", [_run(25.04, None, 10**9)], Scale(10**9, 2, ours)),
    ]
    text = _shown(rows)
    assert "ours" in text
    assert "25.0 (25.0 – 25.0)" in text
    assert "÷ ours" in text
    assert "2.50" in text
    assert "PSS" in text
    assert "note" not in text
    assert "PSS" not in _shown(rows[:1])


def test_names_are_no_markup() -> None:
    assert "other [bold]" in _shown([summarize("other [bold]", [_run(1)], Scale(), "[red]")])


def test_figures_of_several_benchmarks_go_to_one_file(tmp_path: Path) -> None:
    file = tmp_path / "figures.json"
    run = replace(_run(10, 8), output='noise\n{"workSeconds": 8, "engine": "E 1"}\n')
    row = summarize("ours", [run], Scale(10**9))
    for name in ("scan", "whole", "scan"):
        results.save(file, name, [row], {"ours": [run]}, bytes=10**9)
    content = json.loads(file.read_text(encoding="utf-8"))
    assert content.keys() == {"scan", "whole"}
    assert content["scan"]["bytes"] == 10**9
    assert content["scan"]["results"][0]["megabytes_per_second"] == 100
    assert content["scan"]["runs"]["ours"] == [
        {
            "seconds": 10,
            "work_seconds": 8,
            "resident_bytes": 2_000_000_000,
            "proportional_bytes": None,
            "said": {"workSeconds": 8, "engine": "E 1"},
        }
    ]


@pytest.mark.parametrize("content", ["[]", "no JSON", None])
def test_a_file_for_figures_that_cannot_be_added_to_is_told_before_measuring(
    content: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "absent" / "figures.json" if content is None else tmp_path / "figures.json"
    if content is not None:
        file.write_text(content)
    monkeypatch.setattr(sys, "argv", ["bench", "--json", str(file), "--bench-python", sys.executable])
    with pytest.raises(SystemExit):
        results.parse(results.parser("A benchmark"))
    assert "--json" in capsys.readouterr().err
    assert not file.exists() or file.read_text() == content


def test_the_last_json_line_is_what_a_contender_says() -> None:
    assert last_json('{"a": 1}\nwords\n{"b": 2}\n{broken\n') == {"b": 2}
    assert last_json("words only\n[1]\n") == {}


def test_a_contender_says_what_its_work_took(capsys: pytest.CaptureFixture[str]) -> None:
    with timed_work() as said:
        said["engine"] = "E 1"
    assert last_json(capsys.readouterr().out).keys() == {"engine", WORK_SECONDS}
    with timed_work() as said:
        said[WORK_SECONDS] = 1.5
    assert last_json(capsys.readouterr().out) == {WORK_SECONDS: 1.5}


def test_a_job_reaches_its_contender_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job = LearnJob("a 'quoted' [file]", ["ä", "b"], "2016-06-29 00:00:00", 100, 8, 48, 42, 2)
    file = tmp_path / "job.json"
    save_job(job, file)
    monkeypatch.setattr(sys, "argv", ["contender", "variant", str(file)])
    assert arguments(LearnJob) == ("variant", job)


_GROWS = """
import json, subprocess, sys
block = bytearray(b"x" * (60 << 20))
subprocess.run([sys.executable, "-c", "block = bytearray(b'x' * (60 << 20)); import time; time.sleep(2)"])
print(json.dumps({"workSeconds": 0.25}))
"""


def test_memory_of_children_counts(tmp_path: Path) -> None:
    run = run_contender(Contender("grows", [sys.executable, "-c", _GROWS]), tmp_path)
    assert run.resident_bytes > 120 << 20
    assert run.proportional_bytes is None or 110 << 20 < run.proportional_bytes <= run.resident_bytes * 1.1
    assert run.work_seconds == 0.25


def test_a_contender_that_fails_ends_the_benchmark_with_its_words(tmp_path: Path) -> None:
    failing = Contender("broken", [sys.executable, "-c", "import sys; print('because'); sys.exit(7)"])
    with pytest.raises(SystemExit, match=r"broken failed with 7:\nbecause"):
        run_contender(failing, tmp_path)


def test_a_command_gets_its_environment_and_odd_bytes_do_no_harm(tmp_path: Path) -> None:
    code = "import os, sys; sys.stdout.buffer.write(os.environ['BENCH'].encode() + b' \\xff')"
    measured = measure([sys.executable, "-c", code], tmp_path, {"BENCH": "here"})
    assert measured.output == "here \ufffd"
    assert "BENCH" not in os.environ


@pytest.fixture
def sampled_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command runs in this process: sooner."""
    monkeypatch.setattr(data, "measure", lambda command, _: main(command[3:], standalone_mode=False))


@pytest.mark.usefixtures("sampled_here")
def test_data_are_made_once_for_the_same_arguments(tmp_path: Path) -> None:
    parent = tmp_path / "kept [data]"
    wanted = Arguments(rows=500, servers=3, days=3, start="2015-02-27")
    sample = make_sample(parent, wanted)
    assert sample.size_bytes == sum(file.stat().st_size for file in sample.files) > 0
    assert sample.period == ("2015-02-27 00:00:00", "2015-03-01 23:59:59", "2015-02-28 00:00:00")
    before = [file.stat().st_mtime_ns for file in sample.files]
    assert make_sample(parent, wanted) == sample
    assert [file.stat().st_mtime_ns for file in sample.files] == before
    other = make_sample(parent, replace(wanted, seed=7))
    assert other.folder != sample.folder
    stamp = sample.folder / "stamp.json"
    stamp.write_text(stamp.read_text().replace("500", "501"))
    assert make_sample(parent, wanted) == sample
    assert [file.stat().st_mtime_ns for file in sample.files] != before


@pytest.mark.usefixtures("sampled_here")
def test_data_that_were_not_finished_are_made_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = Arguments(rows=10, servers=1, days=3)

    def fail(*_: object) -> None:
        raise subprocess.CalledProcessError(1, "sample")

    with monkeypatch.context() as patch:
        patch.setattr(data, "measure", fail)
        with pytest.raises(subprocess.CalledProcessError):
            make_sample(tmp_path, wanted)
    assert make_sample(tmp_path, wanted).files


def test_a_full_disk_is_told_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"wanted 130000000000\.0 GB"):
        make_sample(tmp_path, Arguments(rows=10**18))
    assert list(tmp_path.iterdir()) == []
