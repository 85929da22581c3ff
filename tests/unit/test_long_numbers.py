"""Whole numbers of thousands of digits, which Python refuses to read: said to users in words meant for them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from loadcast.artefacts.info import Info
from loadcast.artefacts.quality import Quality
from loadcast.cli.main import main
from loadcast.errors import ConfigError, LoadcastError
from loadcast.kernels.features import CLASSIC
from loadcast.serving.bundle import load_bundle
from loadcast.serving.request_contract import RequestContract
from loadcast.settings import load_settings, parse_settings
from loadcast.spark.dependencies import load_spark_dependencies
from loadcast.storage.datastores import load_datastores
from loadcast.storage.legacy import write_blob

DIGITS = "9" * 5000
TEXT = '{"a": ' + DIGITS + "}"


def _file(folder: Path, name: str, text: str = TEXT) -> Path:
    path = folder / name
    path.write_text(text)
    return path


READERS: dict[str, Callable[[Path], object]] = {
    "configuration": lambda folder: load_settings(_file(folder, "config.json")),
    "configuration's dict": lambda folder: parse_settings({"lowThreshold": 10**5000, "x": {"y": 10**5000}}),
    "Spark dependencies": lambda folder: load_spark_dependencies(_file(folder, "spark.yml", f"a: {DIGITS}")),
    "info": lambda folder: Info.read(_file(folder, "info").parent),
    "bundle": lambda folder: load_bundle(_file(folder, "info").parent),
    "quality": lambda folder: Quality.read(_file(folder, "quality.json").parent),
    "records": lambda folder: RequestContract(CLASSIC).read_request(TEXT),
    "datastores": lambda folder: (_file(folder, "stores.json"), load_datastores()),
    "old info": lambda folder: write_blob({"a": 10**5000}, str(folder / "info"), "c", "account", None),
}


@pytest.mark.parametrize("name", READERS)
def test_a_number_of_thousands_of_digits_is_said_in_words(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOADCAST_DATASTORES", str(tmp_path / "stores.json"))
    with pytest.raises(LoadcastError) as caught:
        READERS[name](tmp_path)
    assert "int_max_str_digits" not in str(caught.value)
    assert len(str(caught.value)) < 1_000


def test_a_long_run_of_x_is_a_value_and_no_placeholder() -> None:
    for key, value in (("timezone", "x" * 100_000), ("timezone", "<" + "y" * 100_000 + ">")):
        with pytest.raises(ConfigError) as caught:
            parse_settings({"dataFile": "a", "duration": "FULL", "output": "b", key: value})
        assert "placeholder" not in str(caught.value)
        assert len(str(caught.value)) < 1_000
    with pytest.raises(ConfigError, match="dataFile: found the placeholder 'xxx'"):
        parse_settings({"dataFile": "xxx"})


def test_options_take_none(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["serve", "--port", DIGITS])
    assert len(capsys.readouterr().err) < 1_000


def test_a_whole_number_of_usual_length_is_read(tmp_path: Path) -> None:
    content = {"dataFile": "a", "duration": "FULL", "output": "b", "lowThreshold": 7, "forest": {"seed": -(2**63)}}
    settings = load_settings(_file(tmp_path, "config.json", json.dumps(content)))
    assert (settings.low_threshold, settings.forest.seed) == (7.0, -(2**63))
