"""The journal of a tuning: read as it was written, and nothing else, however hostile, is taken for one."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import tunings
from loadcast.errors import ArtefactError, LoadcastError, OutputError
from loadcast.kernels.tuning.tally import TrialTally
from loadcast.tuning import journal as journals
from loadcast.tuning.journal import Header, open_journal

TRIALS = tunings.SPACE.trials(3)


def opened(path: Path, header: Header = tunings.HEADER) -> dict[tuple[int, int], TrialTally]:
    with open_journal(path, header, TRIALS, tunings.SERVERS) as journal:
        return dict(journal.tallies)


def written(path: Path) -> list[dict[str, Any]]:
    """A whole journal in a file, as documents."""
    tunings.whole(path, TRIALS)
    return [json.loads(line) for line in path.read_text().splitlines()]


def lines(documents: list[Any]) -> bytes:
    return b"".join(json.dumps(document).encode() + b"\n" for document in documents)


def test_tallies_are_read_as_they_were_written(tmp_path: Path) -> None:
    path = tmp_path / "tune.jsonl"
    documents = written(path)
    read = opened(path)
    assert len(read) == len(documents) - 1
    assert {unit: tally.as_json() for unit, tally in read.items()} == {
        unit: tunings.tally(unit).as_json() for unit in read
    }
    assert documents[1]["changes"] == dict(TRIALS[documents[1]["trial"]].changes)


@pytest.mark.parametrize(
    ("other", "meaning"),
    [
        ({"configuration": "d" * 64}, "another configuration"),
        ({"statistics": "d" * 64}, "other hourly statistics"),
        ({"space": "d" * 64}, "another space"),
        ({"folds": 4}, "another number of folds"),
        ({"step_days": 7}, "another step"),
        ({"loadcast": "9.9"}, "another version of loadcast"),
    ],
)
def test_a_journal_of_something_else_is_refused_and_left_alone(
    tmp_path: Path, other: dict[str, Any], meaning: str
) -> None:
    path = tmp_path / "tune.jsonl"
    written(path)
    before = path.read_bytes()
    with pytest.raises(ArtefactError, match=f"is of {meaning}. Name another file with --journal"):
        opened(path, replace(tunings.HEADER, **other))
    assert path.read_bytes() == before


def _changed(key: str, value: Any) -> Callable[[list[dict[str, Any]]], bytes]:
    def change(documents: list[dict[str, Any]]) -> bytes:
        return lines([documents[0], {**documents[1], key: value}, *documents[2:]])

    return change


HOSTILE: dict[str, Callable[[list[dict[str, Any]]], bytes]] = {
    "not JSON": lambda _: b"once upon a time\n",
    "another file's JSON": lambda _: b'{"name": "x"}\n',
    "a configuration without an end of line": lambda _: b'{"dataFile": "x"}',
    "no text": lambda _: b"\x00\xff\xfe\n" * 3,
    "deeply nested": lambda documents: lines(documents[:1]) + b"[" * 100_000 + b"\n",
    "NaN": lambda documents: lines(documents[:1]) + b'{"trial": NaN}\n',
    "a list": lambda documents: lines([documents[0], [1, 2]]),
    "an older format": lambda documents: lines([{**documents[0], "formatVersion": 0}]),
    "true for a number": lambda documents: lines([{**documents[0], "formatVersion": True}]),
    "a line in the middle torn": lambda documents: lines(documents[:2])[:-9] + b"\n" + lines(documents[2:]),
    "a trial below 0": _changed("trial", -1),
    "a trial that is no number": _changed("trial", "0"),
    "a trial that is true": _changed("trial", True),
    "a fold that there is not": _changed("fold", 4),
    "other settings": _changed("changes", {"numRounds": 2000}),
    "too few servers": _changed("rows", [1]),
    "no servers": _changed("rows", None),
    "lists of different lengths": _changed("rows", [[1], [1, 2]]),
    "a count below 0": _changed("hits", [-1] * tunings.SERVERS),
    "a count with a fraction": _changed("hits", [0.5] * tunings.SERVERS),
    "a count of 90 digits": _changed("hits", [10**90] * tunings.SERVERS),
    "more hits than rows": _changed("hits", [10_000] * tunings.SERVERS),
    "texts": _changed("losses", ["0.5"] * tunings.SERVERS),
    "flags": _changed("losses", [True] * tunings.SERVERS),
    "a confusion of others": _changed("confusion", [[[1] * 3] * 3] * 11),
    "no calibration": _changed("calibration", 7),
    "an empty calibration": _changed("calibration", {}),
    "a number of rows": _changed("trainingRows", [1, 2]),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_loadcast_does_not_write_is_refused_and_left_alone(tmp_path: Path, name: str) -> None:
    path = tmp_path / "tune.jsonl"
    content = HOSTILE[name](written(path))
    path.write_bytes(content)
    with pytest.raises(ArtefactError, match=r"The journal .*tune\.jsonl") as refused:
        opened(path)
    assert path.read_bytes() == content
    assert len(str(refused.value)) < 1_000


def test_rows_differ_within_a_fold(tmp_path: Path) -> None:
    path = tmp_path / "tune.jsonl"
    documents = written(path)
    fewer = documents[2]["rows"]
    fewer[0], fewer[1] = fewer[0] + 1, fewer[1] - 1
    path.write_bytes(lines(documents))
    with pytest.raises(ArtefactError, match="its lines are not of the same rows"):
        opened(path)


def test_a_trial_that_was_not_asked_for_is_left_out_but_kept(tmp_path: Path) -> None:
    path = tmp_path / "tune.jsonl"
    written(path)
    before = path.read_bytes()
    with open_journal(path, tunings.HEADER, TRIALS[:1], tunings.SERVERS) as journal:
        assert {trial for trial, _ in journal.tallies} == {0}
    assert path.read_bytes() == before


def test_huge_files_and_lines_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "tune.jsonl"
    written(path)
    monkeypatch.setattr(journals, "MAX_BYTES", 1_000)
    with pytest.raises(ArtefactError, match="a line that loadcast does not write"):
        opened(path)
    with path.open("ab") as file:
        file.truncate(journals._MOST_BYTES + 1)  # sparse
    with pytest.raises(ArtefactError, match="it is larger than"):
        opened(path)


def _fifo(folder: Path) -> Path:
    os.mkfifo(folder / "fifo")
    return folder / "fifo"


@pytest.mark.parametrize(
    "place",
    [lambda folder: folder, lambda folder: folder / "none" / "x", _fifo, lambda folder: folder / "a\0b"],
    ids=["a folder", "no folder", "a pipe", "no name"],
)
def test_what_is_no_file_is_refused_at_once(tmp_path: Path, place: Callable[[Path], Path]) -> None:
    with pytest.raises(OutputError, match="--journal"):
        opened(place(tmp_path))


def test_two_cannot_write_to_one_journal(tmp_path: Path) -> None:
    path = tmp_path / "tune.jsonl"
    with (
        open_journal(path, tunings.HEADER, TRIALS, tunings.SERVERS),
        pytest.raises(LoadcastError, match="in use by another loadcast tune"),
    ):
        opened(path)
