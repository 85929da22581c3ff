"""Records of runs: written whole, read within bounds, listed in order, without secrets."""

from __future__ import annotations

import json
import os
import re
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from loadcast.artefacts.document import DocumentError
from loadcast.errors import ArtefactError, ConfigError, OutputError
from loadcast.experiments import records
from loadcast.experiments.locations import RECORD, project_folder, run_folder
from loadcast.experiments.records import find_record, list_records, new_id, read_record, write_record
from submitted import OTHER, RUN, START, made_up_record

SIGNED = "https://account.blob.core.windows.net/logs?sig=abcSECRET"
TEXT = st.text(st.characters(exclude_categories=[]))
MOMENTS = st.datetimes(
    datetime(1970, 1, 2), datetime(9990, 1, 1), timezones=st.sampled_from([UTC, timezone(timedelta(hours=-9))])
)


@given(st.lists(TEXT, max_size=5), TEXT, MOMENTS, st.none() | MOMENTS, st.none() | st.integers(-64, 255))
def test_what_is_written_is_read(
    tmp_path_factory: pytest.TempPathFactory,
    arguments: list[str],
    script: str,
    start: datetime,
    end: datetime | None,
    exit_code: int | None,
) -> None:
    project = tmp_path_factory.mktemp("project")
    record = made_up_record(arguments=arguments, script=script, start=start, end=end, exit_code=exit_code)
    write_record(project, record)
    assert read_record(project, RUN) == record
    assert os.listdir(run_folder(project, RUN)) == [RECORD]


def test_arguments_are_kept_as_they_are(tmp_path: Path) -> None:
    hostile = ("a b", "'\";", "$(touch x)", "line\nline", "--option=1", "\udcff", "")
    write_record(tmp_path, made_up_record(arguments=hostile))
    assert read_record(tmp_path, RUN).arguments == hostile


def test_secrets_are_not_kept(tmp_path: Path) -> None:
    texts = dict.fromkeys(("script", "experiment", "target", "note", "git_commit"), SIGNED)
    record = made_up_record(arguments=["--data", SIGNED], versions={"x": SIGNED}, **texts)
    write_record(tmp_path, record)
    assert b"SECRET" not in (run_folder(tmp_path, RUN) / RECORD).read_bytes()
    assert "SECRET" not in repr(record)


@pytest.mark.parametrize(
    "change",
    [
        {"id": "../../x"},
        {"id": RUN + "\n"},
        {"state": "other"},
        {"start": datetime(2026, 1, 1)},
        {"git_diff": "../diff"},
        {"git_diff": ".."},
        {"snapshot": "abc"},
        {"parent": "x"},
    ],
    ids=str,
)
def test_what_cannot_be_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        made_up_record(**change)
    with pytest.raises(DocumentError):
        made_up_record().changed(**change)


def test_a_change_keeps_the_rest() -> None:
    changed = made_up_record(end=None, state="running").changed(state="failed", exit_code=3, end=START)
    assert changed == made_up_record(state="failed", exit_code=3, end=START)
    assert changed.is_final
    assert not made_up_record(state="lost").is_final


def test_what_a_newer_loadcast_knows_on_top_is_kept(tmp_path: Path) -> None:
    write_record(tmp_path, made_up_record())
    path = run_folder(tmp_path, RUN) / RECORD
    path.write_text(json.dumps({**json.loads(path.read_text()), "more": [1]}))
    write_record(tmp_path, read_record(tmp_path, RUN).changed(note="x"))
    assert json.loads(path.read_text())["more"] == [1]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "it is not JSON"),
        (b'{"formatVersion": 2}', "its formatVersion is 2"),
        (b'{"formatVersion": 1}', "Field required"),
        (b"[" * 100_000, "nested deeper"),
        (b" " * (records.MOST_BYTES + 1), "larger than"),
    ],
    ids=["empty", "newer", "fields", "deep", "large"],
)
def test_a_damaged_record_hides_no_other(tmp_path: Path, content: bytes, problem: str) -> None:
    write_record(tmp_path, made_up_record())
    run_folder(tmp_path, OTHER).mkdir()
    (run_folder(tmp_path, OTHER) / RECORD).write_bytes(content)
    with pytest.raises(ArtefactError, match=problem):
        read_record(tmp_path, OTHER)
    listing = list_records(tmp_path)
    assert listing.records == (made_up_record(),)
    (said,) = listing.problems
    assert problem in said
    assert "\n" not in said


def test_a_folder_without_a_record_is_of_a_client_that_ended_before_it_submitted(tmp_path: Path) -> None:
    run_folder(tmp_path, RUN).mkdir(parents=True)
    assert list_records(tmp_path) == records.Listing((), ())


def test_a_record_in_the_wrong_folder_is_told(tmp_path: Path) -> None:
    write_record(tmp_path, made_up_record())
    os.rename(run_folder(tmp_path, RUN), run_folder(tmp_path, OTHER))
    with pytest.raises(ArtefactError, match=f"is the record of {RUN}, wanted {OTHER}"):
        read_record(tmp_path, OTHER)


def test_runs_are_listed_by_start_then_id(tmp_path: Path) -> None:
    wanted = [
        made_up_record(id="20261130T000000-000002", start=START),
        made_up_record(id="20261130T000000-000003", start=START),
        made_up_record(id="20261130T000000-000001", start=START + timedelta(seconds=1)),
    ]
    for record in reversed(wanted):
        write_record(tmp_path, record)
    assert list(list_records(tmp_path).records) == wanted


def test_a_project_without_runs_has_none(tmp_path: Path) -> None:
    assert list_records(tmp_path) == records.Listing((), ())
    with pytest.raises(ArtefactError, match="cannot be read"):
        read_record(tmp_path, RUN)
    with pytest.raises(ArtefactError, match="A run's id"):
        read_record(tmp_path, "..")


def test_a_run_is_found_by_the_beginning_of_its_id(tmp_path: Path) -> None:
    for run in (RUN, OTHER):
        write_record(tmp_path, made_up_record(id=run))
    assert find_record(tmp_path, RUN).id == find_record(tmp_path, "20261130T02").id == RUN
    for prefix, said in (("2026", f"2 runs ({RUN}, {OTHER})"), ("x", "no run"), ("", "no run"), ("\x1b[31m", "no run")):
        with pytest.raises(ConfigError, match=f"found {re.escape(said)} whose id begins with .*, wanted one"):
            find_record(tmp_path, prefix)


def test_what_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / ".loadcast").touch()
    with pytest.raises(OutputError, match=r"Cannot write .*record.json: Not a directory"):
        write_record(tmp_path, made_up_record())
    with pytest.raises(ArtefactError):
        list_records(tmp_path)


def test_new_ids_differ_and_follow_the_clock() -> None:
    ids = {new_id(START) for _ in range(20)}
    assert len(ids) == 20
    for run in ids:
        assert made_up_record(id=run).id.startswith("20261130T021944-")


@pytest.mark.parametrize("mark", [".loadcast", "aml_config", ".git"])
def test_a_project_is_found_from_below(tmp_path: Path, mark: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / mark).mkdir()
    (tmp_path / "a" / "b").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "a" / "b")
    assert project_folder() == tmp_path
    # What an agent keeps in the home folder makes no project of that.
    monkeypatch.setenv("HOME", str(tmp_path))
    assert project_folder() == (tmp_path / "a" / "b" if mark == ".loadcast" else tmp_path)
