"""`loadcast quality`: what stands in quality.json as a page, whatever names and faults are in it."""

from __future__ import annotations

import io
import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from rich.console import Console

from loadcast import paths
from loadcast.artefacts.quality import Quality
from loadcast.cli.main import main
from loadcast.errors import ArtefactError, ConfigError
from loadcast.kernels.coverage import Coverage
from loadcast.kernels.scan import Counts
from loadcast.pipeline.quality import quality_report
from loadcast.printable import printable
from loadcast.report.quality import _MEANINGS, listing, show_quality
from loadcast.report.run import quality_lines
from loadcast.schema import Reason, Repair

EVIL = "data/[red]evil[/red]\x1b[31m\u202e:smile:\udcff\n.csv"
SHOWN = r"data/[red]evil[/red]\x1b[31m\u202e:smile:\xff\n.csv"
CONTRACT = {"TotalLoad": {"min": 0.0, "max": 1_000_000.0, "onBreach": "reject"}, "MbytesTransferred": {"max": 0.125}}
BEGIN_H = 406_000


def counts(header: int = 0, contract: int = 0, **more: Any) -> Counts:
    reasons = {name: number for name, number in (("header", header), ("contract", contract)) if number}
    return Counts(rows=10_000, good=10_000 - header - contract, rejected=Counter(reasons), **more)


def content(files: dict[str, Counts] | None = None, servers: int = 3, **more: Any) -> dict[str, Any]:
    """quality.json of files, and of servers: each comes a day after the one before, every fifth without gaps."""
    files = {"a.csv": counts(3), "b.csv": counts()} if files is None else files
    texts = [json.dumps({"file": name, "start": 0, **one.as_dict()}) for name, one in files.items()]
    place = np.arange(servers)
    first, last = BEGIN_H + 24 * place, np.full(servers, BEGIN_H + 24 * servers + 1000)
    names = tuple(f"10.0.{one >> 8}.{one & 255}" for one in place.tolist())
    seen = Coverage(names, first, last, last - first + 1 - place % 5 * 100)
    report = quality_report(texts, seen, dict.fromkeys(files, 5_000_000), {}, False)
    return json.loads(json.dumps({**report.document(), **more}))


def typed(found: dict[str, Any]) -> Quality:
    return Quality.parse(json.dumps(found).encode(), "run/quality.json")


def page(found: dict[str, Any], files: int = 20, servers: int = 20, encoding: str = "utf-8", **console: Any) -> str:
    file = io.TextIOWrapper(io.BytesIO(), encoding=encoding, newline="")
    on = Console(file=file, highlight=False, **{"width": 10_000, **console})
    show_quality(typed(found), "output/demo", on, (files, servers))
    file.flush()
    return file.buffer.getvalue().decode(encoding)  # type: ignore[attr-defined]


def row(text: str, *start: str) -> list[str]:
    """The words of the line that begins with these."""
    (found,) = (words for words in map(str.split, text.splitlines()) if tuple(words[: len(start)]) == start)
    return found[len(start) :]


# --- what stands on the page ----------------------------------------------------------------------------------------


def test_the_totals_are_those_of_the_report() -> None:
    more = {"blank": 1, "repaired": Counter({"TotalLoad:missing": 12}), "breaches": Counter(TotalLoad=4)}
    other = Counts(rows=980_000, outside_period=900_000, other_server=80_000)
    text = page(content({"a": counts(3), "b": counts(**more), "c": other}))
    assert text.startswith("Data quality of output/demo\n")
    assert "the hours from 2016-04-25 16:00:00 to 2016-06-09 08:00:00." in text
    assert "3 files, 15.0 MB" in text
    assert row(text, "rows") == ["1,000,000"]
    assert row(text, "kept") == ["19,997", "2.00%"]
    assert row(text, "outside", "the", "period") == ["900,000", "90.00%"]
    assert row(text, "of", "other", "servers") == ["80,000", "8.00%"]
    assert row(text, "rejected", "3") == ["0.00%"]
    assert row(text, "blank", "lines") == ["1"]
    assert row(text, "bad", "numbers,", "now", "missing") == ["12"]
    assert row(text, "numbers", "outside", "the", "contract") == ["4"]
    assert "FILTER_IP" not in text
    assert "FILTER_IP" in page(content(filterIp=True))


def test_reasons_repairs_and_the_contract_have_tables_where_there_is_something_in_them() -> None:
    more = {"repaired": Counter({"TotalLoad:negative": 1_234_567}), "breaches": Counter(TotalLoad=4)}
    text = page(content({"a": counts(200, 100, **more)}, contract=CONTRACT))
    assert row(text, "header") == ["200", "2.00%", *_MEANINGS["header"].split()]
    assert row(text, "contract") == ["100", "1.00%", *_MEANINGS["contract"].split()]
    assert row(text, "TotalLoad", "0", "0") == ["1,234,567", "0"]
    assert row(text, "TotalLoad", "0", "1,000,000") == ["rejected", "4"]
    assert row(text, "MbytesTransferred") == ["0.125", "counted", "0"]
    assert "Rejected rows" not in (empty := page(content({"a": counts()})))
    assert "Bad numbers" not in empty
    assert "The data contract" not in empty


def test_every_reason_says_what_it_means_and_every_kind_of_repair_has_its_column() -> None:
    assert set(_MEANINGS) == {reason.value for reason in Reason}
    text = page(content({"a": counts(repaired=Counter({"TotalLoad:missing": 1}))}))
    assert row(text, "column") == [kind.value for kind in Repair]


def test_files_are_listed_the_worst_first_and_those_that_stand_out_are_marked() -> None:
    repaired = counts(repaired=Counter({"TotalLoad:missing": 7}))
    found = content({"a": counts(1), "b": counts(10, 20), "c": repaired, "d": counts()})
    text = page(found)
    begin = text.index("Files, the worst first (4 of 4)")
    lines = [line.split() for line in text[begin:].splitlines()[3:7]]
    assert lines == [
        ["!", "30", "0.30%", "contract", "0", "0", "10,000", "b"],
        ["1", "0.01%", "header", "0", "0", "10,000", "a"],
        ["0", "0.00%", "7", "0", "10,000", "c"],
        ["0", "0.00%", "0", "0", "10,000", "d"],
    ]
    assert "! 1 of 4 files stand out: at least 10 times the reject rate of all other files together" in text
    assert "Files, the worst first (2 of 4)" in page(found, files=2)
    none = page(found, files=0)
    assert "Files, the worst first" not in none
    assert "! 1 of 4 files stand out" in none
    assert "No file stands out." in page(content())


def test_a_terminal_shows_in_red_what_stands_out_and_a_pipe_has_no_colours() -> None:
    found = content({"bad": counts(3000), "good": counts(), "fine": counts(2)})
    terminal = page(found, force_terminal=True, color_system="standard", legacy_windows=False)
    red = re.findall(r"\x1b\[31m([^\x1b]*)", terminal)
    assert "bad" in {text.strip() for text in red}
    assert not {"good", "fine"} & {text.strip() for text in red}
    assert all(sign.isprintable() or sign == "\n" for sign in page(found))


def test_servers_with_hours_without_data_are_listed_and_those_that_come_and_go() -> None:
    text = page(content(servers=12), servers=3)
    begin = text.index("Servers by hours without data (3 of 12)")
    assert [line.split()[:2] for line in text[begin:].splitlines()[3:6]] == [
        ["10.0.0.4", "400"],
        ["10.0.0.9", "400"],
        ["10.0.0.3", "300"],
    ]
    assert "12 servers; hours without data between first and last hour: 2,100\n" in text
    assert "11 appeared a day or more after the first hour: 10.0.0.1, 10.0.0.2, 10.0.0.3, and 8 more\n" in text
    assert "0 disappeared a day or more before the last hour\n" in text
    assert "11 appeared a day or more after the first hour: 11 more\n" in page(content(servers=12), servers=0)
    assert "Servers by hours" not in page(content(servers=1))


@pytest.mark.parametrize("width", [60, 80, 200])
def test_no_digit_is_lost_on_a_narrow_terminal(width: int) -> None:
    odd = 123_456_789_123
    found = content({"a" * 300: counts()}, rows=odd)
    found["files"][0].update(rows=odd, rejected=odd, repaired=odd, breaches=odd)
    wide, narrow = page(found), page(found, width=width, force_terminal=True, color_system=None)
    assert Counter(re.findall(r"\d", wide)) == Counter(re.findall(r"\d", narrow))
    assert narrow.count("a") >= 300


@pytest.mark.parametrize(("columns", "whole"), [("59", True), ("60", False)])
def test_on_a_terminal_too_narrow_for_tables_lines_are_left_to_the_terminal(
    output: Path, monkeypatch: pytest.MonkeyPatch, columns: str, whole: bool
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", columns)
    assert (SHOWN in run(output).stdout) is whole


def test_a_console_without_unicode_shows_names_as_escapes() -> None:
    assert "donn\\xe9es.csv" in page(content({"données.csv": counts(1)}), encoding="ascii")
    assert "données.csv" in page(content({"données.csv": counts(1)}))


# --- names that are no names ----------------------------------------------------------------------------------------


def test_a_hostile_name_neither_drives_the_terminal_nor_is_read_as_markup() -> None:
    found = content({EVIL: counts(3000), "good": counts()})
    found["servers"]["listed"][1]["server"] = found["servers"]["appeared"][0] = EVIL
    text = page(found)
    assert text.count(SHOWN) == 3
    assert all(sign.isprintable() or sign == "\n" for sign in text)


def test_hostile_reasons_columns_and_times_are_shown_as_text() -> None:
    found = content({"a": counts(1, repaired=Counter({"TotalLoad:missing": 1}))})
    found["rejectedByReason"] = {"[bold]\x1b": 1, "[bold]\udcff": 1}
    found["repairedByColumn"] = {"[bold]\x07": {"odd": 1}}
    found["files"][0]["rejectedByReason"] = {"[bold]\x08": 1}
    found["contract"] = {"[bold]\x00": {"min": 1}}
    found["firstTime"] = "[bold]\x9b"
    text = page(found)
    assert all(sign.isprintable() or sign == "\n" for sign in text)
    assert {r"\xff", r"\x1b", r"\x07", r"\x08", r"\x00", r"\x9b"} == set(re.findall(r"\[bold\](\S+)", text))


@pytest.mark.parametrize(
    ("text", "plain"),
    [("a b/ü.csv", "a b/ü.csv"), ("\n\t\x7f\x85", r"\n\t\x7f\x85"), ("\udcff\u2028\u202e", r"\xff\u2028\u202e")],
)
def test_what_is_not_printable_is_shown_as_its_escape(text: str, plain: str) -> None:
    assert printable(text) == plain


def test_a_list_names_some_and_says_how_many_more_there_are() -> None:
    assert listing(["a", "b\n"], 2, 3) == r"a, b\n"
    assert listing(["a", "b"], 12_000, 1) == "a, and 11,999 more"
    assert listing(["a", "b"], 12_000, 9) == "a, b, and 11,998 more"


def test_etl_says_in_one_line_which_files_stand_out() -> None:
    assert not any("stand out" in line for line in quality_lines(typed(content())))
    files = {f"{EVIL}{place}": counts(100) for place in range(5)} | {f"{place}": counts() for place in range(995)}
    (line,) = (line for line in quality_lines(typed(content(files))) if "stand out" in line)
    assert line.startswith("5 of 1,000 files stand out by their rejected rows: ")
    assert f"{SHOWN}0, {SHOWN}1, {SHOWN}2, and 2 more." in line
    assert line.isprintable()


# --- the command ----------------------------------------------------------------------------------------------------


def run(*arguments: Any) -> Result:
    return CliRunner().invoke(main, ["quality", *map(str, arguments)])


@pytest.fixture
def output(tmp_path: Path) -> Path:
    """An output folder with one run."""
    folder = tmp_path / "output"
    (folder / paths.RUNS / "one").mkdir(parents=True)
    (folder / paths.CURRENT).symlink_to(f"{paths.RUNS}/one")
    (folder / paths.QUALITY).symlink_to(f"{paths.CURRENT}/{paths.QUALITY}")
    typed(content({EVIL: counts(3000), "good": counts()})).write(folder / paths.RUNS / "one")
    return folder


def test_the_page_is_that_of_an_output_a_run_or_a_configuration(output: Path, tmp_path: Path) -> None:
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"dataFile": "x", "duration": "ONE_MONTH", "output": str(output)}))
    pages = []
    for place in (output, output / paths.RUNS / "one", output / paths.CURRENT, config):
        result = run(place)
        assert (result.exit_code, result.stderr) == (0, "")
        title, rest = result.stdout.split("\n", 1)
        assert title == f"Data quality of {place}"
        pages.append(rest)
    assert len(set(pages)) == 1
    assert SHOWN in pages[0]


def test_json_is_the_file_itself(output: Path) -> None:
    result = run(output, "--json")
    assert result.exit_code == 0
    assert result.stdout == (output / paths.QUALITY).read_text()
    assert json.loads(result.stdout)["formatVersion"] == Quality.VERSION


def test_how_much_is_listed_can_be_said(output: Path) -> None:
    assert "Files, the worst first (1 of 2)" in run(output, "--files", 1).stdout
    assert "Servers by hours without data (1 of 3)" in run(output, "--servers", 1).stdout
    assert run(output, "--files", -1).exit_code == 2


def test_a_hundred_thousand_files_and_servers_make_a_page(output: Path) -> None:
    many = {f"data/{place}.csv": counts(place % 7) for place in range(100_000)} | {"worst.csv": counts(9999)}
    (output / paths.QUALITY).write_text(json.dumps(content(many, servers=100_000)))
    result = run(output, "--files", 1)
    assert result.exit_code == 0
    assert "100,001 files, 500,005.0 MB" in result.stdout
    assert row(result.stdout, "!", "9,999") == ["99.99%", "header", "0", "0", "10,000", "worst.csv"]
    assert "99,999 appeared a day or more" in result.stdout
    assert len(result.stdout) < 10_000


def fails(error: type[ArtefactError] | type[ConfigError], *arguments: Any) -> str:
    result = run(*arguments)
    assert result.exit_code == error.exit_code
    assert result.stdout == ""
    assert result.stderr.startswith("loadcast: ")
    assert "Traceback" not in result.stderr
    return result.stderr


def test_a_place_without_a_run_is_said_in_words(output: Path, tmp_path: Path) -> None:
    assert "there is no such folder" in fails(ArtefactError, tmp_path / "none")
    assert "holds no published run. Run python Code/etl.py CONFIG first." in fails(ArtefactError, tmp_path)
    (output / paths.RUNS / "one" / paths.QUALITY).unlink()
    assert "quality.json cannot be read: No such file or directory. Run python Code/etl.py" in fails(
        ArtefactError, output
    )
    assert "is not JSON" in fails(ConfigError, __file__)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "it is not JSON"),
        (b"\xff\xfe", "it is not JSON"),
        (b"[" * 100_000, "it is nested deeper than 32 levels"),
        (b'{"version": 2, "rows": ' + b"9" * 5000 + b"}", "it holds a number of 5,000 digits"),
        (b"[]", "found a list, wanted a JSON object"),
        (b"{}", "found formatVersion None, wanted 2 to 3"),
        (b'{"version": "\\u001b[31m2"}', r"found formatVersion '\x1b[31m2', wanted 2 to 3"),
        (b'{"version": 1, "rows": 3}', "found formatVersion 1, wanted 2 to 3"),
        (b'{"version": 2}', "bytes: Field required"),
    ],
)
def test_a_broken_report_is_said_in_words(output: Path, data: bytes, said: str) -> None:
    (output / paths.QUALITY).write_bytes(data)
    message = fails(ArtefactError, output)
    assert said in message
    assert "Run python Code/etl.py CONFIG again." in message
    assert message.rstrip("\n").isprintable()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"rows": "7"}, "rows: Input should be a valid integer"),
        ({"rows": True}, "rows: Input should be a valid integer"),
        ({"rows": -1}, "rows: Input should be greater than or equal to 0"),
        ({"rows": 10**40}, "rows: Input should be"),
        ({"rejectedByReason": {"header\x1b": None}}, r"rejectedByReason.header\x1b: Input should be"),
        ({"files": 3}, "files: Input should be a valid list"),
        ({"files": [{"file": 3}]}, "files.0."),
        ({"servers": None}, "servers: Input should be"),
        ({"firstTime": 3}, "firstTime: Value error, wanted a text"),
        ({"contract": {"TotalLoad": {}}}, "contract.TotalLoad: Value error, wanted min or max, or both"),
    ],
)
def test_a_report_that_lacks_what_the_page_shows_names_it(output: Path, change: dict[str, Any], said: str) -> None:
    (output / paths.CURRENT / paths.QUALITY).write_text(json.dumps(content() | change))
    message = fails(ArtefactError, output)
    assert said in message
    assert message.rstrip("\n").isprintable()
