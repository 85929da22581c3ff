"""No command writes over the configuration, or over a file that it was given to read or to write as well."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

import refits
from loadcast.cli.main import main
from loadcast.errors import ConfigError


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["backtest", "--json", "config.json"], "--json: found config.json, which is CONFIG itself"),
        (["monitor", "--gate", "config.json"], "--gate: found config.json, which is CONFIG itself"),
        (
            ["monitor", "--gate", "a.prom", "--prometheus", "./a.prom"],
            "--gate: found a.prom, which is --prometheus itself",
        ),
        (["monitor", "--forecasts", "a.parquet", "--gate", "link"], "--gate: found link, which is --forecasts itself"),
        (["score", "--output", "config.json"], "--output: found config.json, which is CONFIG itself"),
        (["score", "--gate", "a.json", "--output", "a.json"], "--output: found a.json, which is --gate itself"),
        (["score", "--svg", "a.svg", "--output", "a.svg"], "--svg: found a.svg, which is --output itself"),
    ],
)
def test_a_file_that_would_be_lost_is_told(
    arguments: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    text = json.dumps(refits.make_settings(tmp_path / "output").document())
    Path("config.json").write_text(text)
    Path("link").symlink_to("a.parquet")
    command, *options = arguments
    result = CliRunner().invoke(main, [command, "config.json", *options])
    assert result.exit_code == ConfigError.exit_code
    assert said in result.stderr
    assert Path("config.json").read_text() == text
