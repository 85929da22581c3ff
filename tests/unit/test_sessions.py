"""The hostile logs hold what they say, and the oracle's results do not depend on how they are written."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import pandas as pd
import pytest

import oracle
import session_values
import sessions
from oracle import rows


def run_log(paths: list[Path], days: int = 14, **options) -> oracle.OracleResult:
    split = sessions.BEGIN + timedelta(days=days - 3)
    period = {"train_begin": sessions.BEGIN, "train_end": sessions.last_second(days), "test_split_start": split}
    return oracle.run(paths, low=100, high=500, holidays={date(2016, 6, 6)}, **{**period, **options})


@pytest.fixture(scope="module", params=[17, 16])
def log(request) -> list[bytes]:
    return sessions.hostile_log(7, rows=2500, layout=request.param)


def test_a_log_is_made_by_its_seed_alone():
    same = [sessions.hostile_log(seed, rows=300) for seed in (1, 1, 2)]
    assert same[0] == same[1] != same[2]


def test_every_item_ends_with_lf_and_is_found_alone_as_in_a_file(log):
    whole = rows.read_rows(b"".join(log), sessions.BEGIN, sessions.last_second(14))
    assert all(item.endswith(b"\n") for item in log)
    assert sum(len(list(rows.lines(item))) for item in log) == whole.rows + whole.blank


def test_a_log_holds_every_reason_kind_class_and_server(log, tmp_path):
    result = run_log(sessions.write_split(log, tmp_path, 3, 1), contract=sessions.CONTRACT)
    counts = result.counts
    assert all(counts["rejected"][reason] for reason in oracle.REASONS)
    assert {name for name, number in counts["breaches"].items() if number} == set(sessions.CONTRACT)
    assert all(sum(kinds[kind] for kinds in counts["repaired"].values()) for kind in oracle.KINDS)
    assert min(counts["blank"], counts["outsidePeriod"], counts["good"]) > 0
    assert counts["rows"] == counts["good"] + counts["outsidePeriod"] + sum(counts["rejected"].values())
    assert set(result.features["label"]) == {1, 2, 3}
    assert {100.0, 500.0, 0.6} <= set(result.hourly["peakLoad"])
    assert sorted(set(result.hourly["ServerIP"])) == sorted(sessions.SERVERS)
    assert "9.9.9.9" not in result.levels["ServerIP"]
    assert not result.hourly["observed"].all()


def test_shuffled_rows_and_other_files_change_nothing(log, tmp_path):
    plain = run_log(sessions.write_split(log, tmp_path / "one", 1, 1, plain=True))
    for seed, parts in ((1, 4), (2, 9)):
        other = run_log(sessions.write_split(log, tmp_path / str(seed), parts, seed, shuffle=True))
        for name in ("hourly", "daily", "features"):
            pd.testing.assert_frame_equal(getattr(plain, name), getattr(other, name), check_exact=True)
        assert plain.counts == other.counts
        assert plain.levels == other.levels


def test_an_undirtied_log_has_nothing_to_reject_or_repair(tmp_path):
    items = sessions.hostile_log(3, rows=500, dirty=0, servers=3)
    counts = run_log(sessions.write_split(items, tmp_path, 2, 1, plain=True)).counts
    assert counts["rows"] == counts["good"] == len(items)
    assert counts["rejectedFraction"] == counts["blank"] == 0


def test_too_few_rows_for_the_files_are_refused(tmp_path):
    with pytest.raises(ValueError, match="at least 40"):
        sessions.write_split([b"a\n"] * 79, tmp_path, 2, 1)


@pytest.mark.parametrize("options", [{"layout": 15}, {"servers": 0}, {"servers": 201}])
def test_an_impossible_log_is_refused(options):
    with pytest.raises(ValueError, match="wanted"):
        sessions.hostile_log(1, **options)


NUMBERS_BY_KIND = {
    None: session_values.GOOD_NUMBERS,
    "missing": session_values.MISSING_NUMBERS,
    "not_a_number": session_values.NOT_NUMBERS,
    "negative": session_values.NEGATIVE_NUMBERS,
    "too_large": session_values.TOO_LARGE_NUMBERS,
}


@pytest.mark.parametrize(("kind", "text"), [(kind, text) for kind, texts in NUMBERS_BY_KIND.items() for text in texts])
def test_every_hostile_number_is_of_its_kind(kind, text):
    (field,) = rows.split_fields(text.encode())
    assert rows.read_number(field)[1] == kind


@pytest.mark.parametrize("text", session_values.BAD_SERVERS)
def test_every_bad_server_is_no_address(text):
    (field,) = rows.split_fields(text.encode())
    assert rows.canonical_address(field) is None


@pytest.mark.parametrize("text", sessions.IPV6_FORMS)
def test_every_ipv6_form_is_the_same_server(text):
    assert rows.canonical_address(text) == "2001:db8::a:1"
