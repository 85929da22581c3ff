from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pyarrow as pa
import pytest
from click.testing import CliRunner, Result
from rich.console import Console

from loadcast import schema
from loadcast.cli.score import score
from loadcast.errors import ConfigError, InputError, LoadcastError, OutputError, ServiceError
from loadcast.report.forecast import BLOCKS, LETTERS, Picture, as_json, save_svg, scale, show, strips, tables
from loadcast.serving.remote.answers import HourForecast, ServerForecast
from published import TRAIN_BEGIN, HourPredictor, hourly_statistics, publish, running_service

SCRIPT = Path(__file__).resolve().parents[2] / "Code" / "scoring_webservice.py"
SERVERS = ("115.220.193.16", "210.181.165.92")
JULY = datetime(2016, 7, 1)
LABELS = [1, 2, 3, 3, 2, 1] * 8
STRIP = "▁▄██▄▁" * 8


def forecast(server: str = SERVERS[0], begin: datetime = JULY, cold_start: bool = False) -> ServerForecast:
    shares = {1: (0.7, 0.2, 0.1), 2: (0.2, 0.7, 0.1), 3: (0.05, 0.15, 0.8)}
    hours = [
        HourForecast(server, begin + timedelta(hours=index), label, shares[label], cold_start)
        for index, label in enumerate(LABELS)
    ]
    return ServerForecast(server, tuple(hours))


def picture(*servers: str, with_tables: bool = False, **more: Any) -> Picture:
    return Picture([forecast(server) for server in servers or SERVERS], "UTC", with_tables, **more)


def printed(shown: Picture, encoding: str = "utf-8", **settings: Any) -> str:
    file = io.TextIOWrapper(io.BytesIO(), encoding=encoding, newline="")
    show(shown, Console(file=file, **settings))
    file.flush()
    return file.buffer.getvalue().decode(encoding)  # type: ignore[attr-defined]


# --- the strip -------------------------------------------------------------------------------------------------------
def test_each_server_has_one_line_with_a_sign_for_each_hour() -> None:
    lines = printed(picture()).splitlines()
    assert [line for line in lines if "█▄" in line] == [f"{server}    {STRIP}" for server in SERVERS]


def test_a_strip_stays_one_line_where_the_console_is_narrow() -> None:
    assert f"{SERVERS[0]}    {STRIP}\n" in printed(picture(), width=40)


def test_the_classes_can_be_told_apart_without_colour_and_without_unicode() -> None:
    assert len(set(BLOCKS.values())) == len(set(LETTERS.values())) == 3
    assert "_o##o_" * 8 in printed(picture(), encoding="ascii")


def test_piped_output_has_no_control_characters() -> None:
    text = printed(picture(with_tables=True))
    assert all(sign.isprintable() or sign == "\n" for sign in text)


def test_a_terminal_gets_colours() -> None:
    text = printed(picture(), force_terminal=True, color_system="standard", legacy_windows=False)
    assert "\x1b[32m▁" in text
    assert "\x1b[33m▄" in text
    assert "\x1b[31m█" in text


def test_the_scale_marks_days_and_every_sixth_hour_above_their_signs() -> None:
    days, marks = scale([JULY + timedelta(hours=hour) for hour in range(48)])
    assert (days.index("Fri 2016-07-01"), days.index("Sat 2016-07-02")) == (0, 24)
    assert [marks.index("00"), marks.index("06"), marks.rindex("00"), marks.rindex("18")] == [0, 6, 24, 42]


def test_a_day_is_not_marked_where_its_date_has_no_room() -> None:
    days, marks = scale([datetime(2016, 7, 1, 18) + timedelta(hours=hour) for hour in range(48)])
    assert days == " " * 6 + "Sat 2016-07-02" + " " * 10 + "Sun 2016-07-03"
    assert marks.startswith("18    00    06")


@pytest.mark.parametrize("hour", range(24))
def test_the_scale_is_never_longer_than_the_strip(hour: int) -> None:
    hours = [JULY + timedelta(hours=hour + index) for index in range(48)]
    assert all(len(line) <= 48 for line in scale(hours))


def test_the_legend_names_each_class() -> None:
    assert "▁ low    ▄ medium    █ high" in printed(picture())


def test_a_server_new_to_the_model_is_marked() -> None:
    text = strips([forecast(cold_start=True), forecast(SERVERS[1])], BLOCKS).plain
    assert f"{SERVERS[0]} *  ▁" in text
    assert f"{SERVERS[1]}    ▁" in text
    assert "* the server is not in the training data" in text


def test_no_mark_is_explained_where_there_is_none() -> None:
    assert "*" not in strips([forecast()], BLOCKS).plain


def test_strips_begin_in_one_column_however_long_the_addresses_are() -> None:
    lines = strips([forecast("1.1.1.1"), forecast("2001:db8:1111:2222:3333:4444:5555:6666")], BLOCKS).plain.split("\n")
    assert {line.index("▁") for line in lines[2:4]} == {42}


# --- tables ----------------------------------------------------------------------------------------------------------
def test_the_table_has_class_and_probabilities_of_every_hour() -> None:
    lines = printed(picture(with_tables=True), width=100).splitlines()
    rows = [re.split(r"\s{2,}", line.strip()) for line in lines if re.search(r"\d\d:00  ", line)]
    assert len(rows) == 48
    assert rows[0] == ["Fri 2016-07-01 00:00", "low", "70", "20", "10", "low", "70", "20", "10"]
    assert rows[2][:5] == ["Fri 2016-07-01 02:00", "high", "5", "15", "80"]


def test_servers_stand_beside_each_other_as_far_as_there_is_room() -> None:
    forecasts = [forecast(f"10.0.0.{number}") for number in range(5)]
    assert [len(table.columns) - 1 for table in tables(forecasts, 80)] == [2, 2, 1]
    assert [len(table.columns) - 1 for table in tables(forecasts, 10)] == [1] * 5


def test_tables_are_shown_only_if_wanted() -> None:
    assert "% low/medium/high" in printed(picture(with_tables=True))
    assert "% low/medium/high" not in printed(picture())


def test_notes_stand_below() -> None:
    assert printed(picture(notes=["Mind the gap."])).endswith("\nMind the gap.\n")


# --- JSON and SVG ----------------------------------------------------------------------------------------------------
def test_json_holds_every_answer() -> None:
    data = json.loads(as_json(picture(notes=["a note"])))
    assert data["notes"] == ["a note"]
    assert [item[schema.SERVER] for item in data["forecasts"]] == list(SERVERS)
    assert len(data["forecasts"][0]["hours"]) == 48
    assert data["forecasts"][0]["hours"][2] == {
        schema.HOUR: "2016-07-01 02:00:00",
        schema.PREDICTION: 3,
        schema.LABEL: "high",
        "probability": {"low": 0.05, "medium": 0.15, "high": 0.8},
        "cold_start": False,
    }


def test_the_svg_is_well_formed_and_shows_the_strips(tmp_path: Path) -> None:
    save_svg(picture(), tmp_path / "forecast.svg")
    text = "".join(ElementTree.parse(tmp_path / "forecast.svg").getroot().itertext()).replace("\xa0", " ")
    assert SERVERS[0] in text
    assert all(text.count(sign) > 30 for sign in "▁▄█")


def test_the_svg_loads_nothing_from_elsewhere(tmp_path: Path) -> None:
    save_svg(picture(), tmp_path / "forecast.svg")
    text = (tmp_path / "forecast.svg").read_text(encoding="utf-8")
    assert "url(" not in text.replace("url(#", "")
    assert "@font-face" not in text
    assert re.findall(r"https?://[^\"<\s]*", text.replace("http://www.w3.org/2000/svg", "")) in (
        [],
        ["https://www.textualize.io"],
    )


def test_the_same_forecast_makes_the_same_svg(tmp_path: Path) -> None:
    for name in ("a", "b"):
        save_svg(picture(), tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_an_svg_that_cannot_be_written_is_an_output_error(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"--svg"):
        save_svg(picture(), tmp_path / "no" / "forecast.svg")


# --- the command -----------------------------------------------------------------------------------------------------
@pytest.fixture
def config(tmp_path: Path) -> Path:
    tables_of = [hourly_statistics(server, TRAIN_BEGIN, 61 * 24) for server in SERVERS]
    publish(tmp_path / "output", pa.concat_tables(tables_of))
    return write_config(tmp_path)


def write_config(folder: Path, **fields: Any) -> Path:
    path = folder / "config.json"
    known = {"dataFile": "unused.csv", "duration": "ONE_MONTH", "output": str(folder / "output")}
    path.write_text(json.dumps(known | fields))
    return path


def run(config: Path, *arguments: str) -> Result:
    with running_service(HourPredictor()) as url:
        return CliRunner().invoke(score, [str(config), "--url", url, *arguments])


def failed(config: Path, *arguments: str) -> BaseException | None:
    exception = CliRunner().invoke(score, [str(config), *arguments]).exception
    return exception and exception.__cause__


def test_the_command_scores_the_hours_after_the_newest(config: Path) -> None:
    result = run(config)
    assert (result.exit_code, result.exception) == (0, None)
    assert "Load class of 48 hours from 2016-07-01 00:00:00 (UTC)" in result.stdout
    assert "% low/medium/high" in result.stdout
    strip = "▁" * 6 + "▄" * 2 + "█" * 10 + "▄" * 4 + "▁" * 2
    assert f"{SERVERS[1]}    {strip * 2}\n" in result.stdout


def test_the_command_takes_servers_and_a_begin(config: Path) -> None:
    result = run(config, "--server", SERVERS[1], "--from", "2016-06-20 13:00:00", "--no-table")
    assert SERVERS[0] not in result.stdout
    assert "from 2016-06-20 13:00:00" in result.stdout
    assert "%" not in result.stdout


def test_more_than_four_servers_are_shown_as_strips_unless_tables_are_asked_for(tmp_path: Path) -> None:
    tables_of = [hourly_statistics(f"10.0.0.{number}", datetime(2016, 6, 1), 200) for number in range(1, 6)]
    publish(tmp_path / "output", pa.concat_tables(tables_of))
    config = write_config(tmp_path)
    assert "%" not in run(config).stdout
    assert run(config, "--table").stdout.count("10.0.0.5") == 2


def test_a_begin_after_a_gap_is_noted(config: Path) -> None:
    result = run(config, "--from", "2016-07-03 00:00:00")
    assert "Statistics end at 2016-06-30 23:00:00; the hours from there to 2016-07-03 00:00:00 count" in result.stdout


def test_the_command_gives_json_and_an_svg(config: Path, tmp_path: Path) -> None:
    result = run(config, "--format", "json", "--svg", str(tmp_path / "a.svg"))
    assert len(json.loads(result.stdout)["forecasts"]) == 2
    assert (tmp_path / "a.svg").stat().st_size > 1000


@pytest.mark.parametrize("value", ["yesterday", "2016-07-01", "2016-02-30 00:00:00", "2016-07-01 00:00:00; rm"])
def test_a_begin_that_is_no_time_is_a_mistake_in_the_command_line(config: Path, value: str) -> None:
    result = CliRunner().invoke(score, [str(config), "--from", value])
    assert result.exit_code == 2
    assert "yyyy-MM-dd HH:mm:ss" in result.output


def test_faults_are_errors_of_the_tree(config: Path, tmp_path: Path) -> None:
    cases: list[tuple[type[LoadcastError], tuple[str, ...]]] = [
        (InputError, ("--server", "1.2.3.4")),
        (ConfigError, ("--url", "nonsense")),
        (ConfigError, ("--key-file", str(tmp_path / "gone"))),
    ]
    for kind, arguments in cases:
        assert isinstance(failed(config, *arguments), kind)
    assert type(failed(tmp_path / "gone.json")) is ConfigError


def test_a_container_whose_key_is_nowhere_is_told(tmp_path: Path) -> None:
    storage = {"storageAccount": "account", "storageContainer": "container", "storageKey": "env:LOADCAST_NO_SUCH_KEY"}
    config = write_config(tmp_path, output=None, **storage)
    assert type(failed(config)) is ConfigError


_WITHOUT_PANDAS_AND_SPARK = """
import runpy, sys

class Absent:
    def find_spec(self, name, *_):
        if name.partition(".")[0] in ("pandas", "pyspark", "py4j"):
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Absent())
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def script(*arguments: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-c", _WITHOUT_PANDAS_AND_SPARK, str(SCRIPT), *arguments]
    environment = {**os.environ, "PYTHONPATH": str(SCRIPT.parent), "PYTHONIOENCODING": "utf-8"}
    return subprocess.run(argv, capture_output=True, text=True, encoding="utf-8", env=environment)


def test_the_script_works_where_pandas_and_spark_are_not_installed(config: Path) -> None:
    with running_service(HourPredictor()) as url:
        done = script(str(config), "--url", url)
    assert (done.returncode, done.stderr) == (0, "")
    assert "█" in done.stdout


def test_the_script_explains_a_fault_in_words_and_in_its_exit_code(config: Path) -> None:
    done = script(str(config), "--server", "1.2.3.4")
    assert done.returncode == InputError.exit_code
    assert done.stderr.startswith("loadcast: Server 1.2.3.4: found no statistics")
    assert done.stdout == ""


def test_a_service_that_is_not_there_is_explained(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("loadcast.serving.remote.patience.pause", lambda seconds: None)
    assert isinstance(failed(config, "--url", "http://127.0.0.1:9"), ServiceError)
