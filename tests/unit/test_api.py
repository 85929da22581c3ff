"""The public Python API without Spark: what importing costs, tables of logs, runs that are opened, forecasts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import loadcast
import old_run
import runs
import sessions
from loadcast import paths, schema
from loadcast.errors import ArtefactError, ConfigError, InputError, QualityError
from loadcast.serving.predictor import Predictor
from loadcast.settings import Settings, parse_settings
from published import running_service

ROOT = Path(__file__).resolve().parents[2]
BIG = ("pyspark", "mlflow", "pandas", "pyarrow", "numpy", "pydantic", "numba", "requests", "flask")
NEVER_WITHOUT_SPARK = ("pyspark", "mlflow", "pandas", "pyarrow.dataset")


def modules_after(code: str) -> set[str]:
    """The modules that a new interpreter has after some code."""
    program = f"import sys\n{code}\nprint(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        env={**os.environ, "PYTHONPATH": str(ROOT / "Code")},
        capture_output=True,
        text=True,
        check=True,
    )
    return set(done.stdout.split())


def test_importing_the_package_imports_nothing_big() -> None:
    assert modules_after("import loadcast; dir(loadcast)").isdisjoint(BIG)


def test_its_names_bring_what_they_need_and_not_spark() -> None:
    code = "import loadcast\n[getattr(loadcast, name) for name in loadcast.__all__ if 'forecast' not in name]"
    assert modules_after(code).isdisjoint(NEVER_WITHOUT_SPARK)
    # It filters statistics with pyarrow.dataset, which brings pandas.
    assert modules_after("from loadcast import forecast").isdisjoint({"pyspark", "mlflow"})


def test_every_name_is_there_and_listed() -> None:
    assert {getattr(loadcast, name) is not None for name in loadcast.__all__} == {True}
    assert set(loadcast.__all__) <= set(dir(loadcast))
    wanted = """Settings load_settings RunRequest RunResult run_etl run_train run_stats scan hourly daily features
        open_run load_model Predictor ScoringClient forecast"""
    assert set(wanted.split()) <= set(loadcast.__all__)
    with pytest.raises(AttributeError, match="no attribute 'hourley'"):
        _ = loadcast.hourley  # type: ignore[attr-defined]


def test_type_checkers_know_the_names(tmp_path: Path) -> None:
    program = tmp_path / "notebook.py"
    program.write_text(
        "import loadcast\nsettings = loadcast.load_settings('x')\nreveal_type(loadcast.hourly)\n"
        "loadcast.run_etl(settings).metrics\nloadcast.run_etl(3)\n"
    )
    api = pytest.importorskip("mypy.api")
    said, _, _ = api.run(["--strict", "--cache-dir", str(ROOT / ".mypy_cache"), str(program)])
    assert "Sequence[str | PathLike[str]]" in said.replace("os.PathLike", "PathLike").replace("builtins.", "")
    assert said.count("error:") == 1
    assert "run_etl" in said
    assert (ROOT / "Code" / "loadcast" / "py.typed").exists()


# --- tables of logs -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two servers' four days, in two files that share 5 minutes."""
    folder = tmp_path_factory.mktemp("logs")
    lines = sessions.hostile_log(1, servers=2, days=4, rows=400, dirty=0)
    (folder / "a.csv").write_bytes(b"".join(lines[::2]))
    (folder / "b.csv").write_bytes(b"".join(lines[1::2]))
    (folder / "empty.csv").touch()
    return folder


def lines_of(log: Path) -> list[bytes]:
    return [line for path in sorted(log.glob("*.csv")) for line in path.read_bytes().splitlines()]


@pytest.fixture
def settings(log: Path, tmp_path: Path) -> Settings:
    return runs.make_settings(log / "*.csv", tmp_path / "output", 4, 1)


def test_paths_are_scanned_as_a_configuration_is(log: Path, settings: Settings) -> None:
    wanted = loadcast.scan(settings)
    assert wanted.schema == schema.BUCKETS_SCHEMA
    assert wanted.num_rows > 200
    assert json.loads(wanted.schema.metadata[b"loadcast.counts"])["good"] == len(lines_of(log))
    for paths_of_it in (f"{log}/*.csv", log / "?.csv", [log / "a.csv", f"{log}/b.csv", log / "a.csv"]):
        assert loadcast.scan(paths_of_it).equals(wanted)
    for later in (loadcast.hourly, loadcast.daily):
        assert later(f"{log}/*.csv").equals(later(settings))


def test_rows_are_by_server_and_time_and_each_server_can_be_chosen(settings: Settings) -> None:
    buckets = loadcast.scan(settings)
    keys = [(schema.SERVER, "ascending"), (schema.BUCKET_START, "ascending")]
    assert buckets.equals(buckets.sort_by(keys))
    names = buckets.column(schema.SERVER).unique().to_pylist()
    alone = [loadcast.scan(settings, servers=[name]) for name in names]
    assert pa.concat_tables(alone).equals(buckets)
    with pytest.raises(ConfigError, match="servers: wanted IP addresses"):
        loadcast.scan(settings, servers=["web-1"])


def test_each_table_can_be_made_of_the_one_before(settings: Settings) -> None:
    hours = loadcast.hourly(loadcast.scan(settings))
    assert hours.equals(loadcast.hourly(settings))
    shuffled = hours.take(np.random.default_rng(1).permutation(hours.num_rows))
    for table in (hours, shuffled):
        assert loadcast.daily(table).equals(loadcast.daily(settings))
        assert loadcast.features(table, settings).equals(loadcast.features(settings))


def test_work_in_portions_gives_the_same(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = [make(settings) for make in (loadcast.scan, loadcast.hourly, loadcast.daily, loadcast.features)]
    monkeypatch.setattr("loadcast.api.tables._WORK_SLOTS", 1)
    monkeypatch.setattr("loadcast.api.tables._FEW_SUMS", 1)
    found = [make(settings) for make in (loadcast.scan, loadcast.hourly, loadcast.daily, loadcast.features)]
    assert [runs.same_bits(*pair) for pair in zip(found, wanted, strict=True)] == [[]] * 4


def test_what_cannot_be_made_is_an_error_that_says_what_is_wanted(settings: Settings, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"wanted features\(table, settings\)"):
        loadcast.features(loadcast.hourly(settings))
    with pytest.raises(InputError, match=r"without the column BucketStart; wanted one of scan\(\)"):
        loadcast.hourly(loadcast.hourly(settings))
    with pytest.raises(InputError, match=r"without the column key; wanted one of hourly\(\)"):
        loadcast.daily(loadcast.scan(settings))
    with pytest.raises(InputError, match="matches no file"):
        loadcast.scan(tmp_path / "none.csv")
    with pytest.raises(ConfigError, match="only Spark can read"):
        loadcast.scan(settings.model_copy(update={"data_file": "hdfs://name/logs"}))
    (tmp_path / "bad.csv").write_text("no session\n" * 3)
    with pytest.raises(QualityError, match="field_count 3"):
        loadcast.scan(tmp_path / "bad.csv")
    later = settings.model_copy(update={"train_begin": datetime(2030, 1, 1), "train_end": datetime(2030, 1, 2)})
    with pytest.raises(InputError, match="No row was kept"):
        loadcast.scan(later)


# --- runs and forecasts ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("named", ["settings", "folder", "text", "configuration", "run"])
def test_a_run_is_opened_by_all_that_names_it(named: str, tmp_path: Path) -> None:
    settings = old_run.copied(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(settings.document()))
    folder = (tmp_path / "output" / paths.CURRENT).resolve()
    names = {
        "settings": settings,
        "folder": tmp_path / "output",
        "text": str(tmp_path / "output"),
        "configuration": tmp_path / "config.json",
        "run": folder,
    }
    run = loadcast.open_run(names[named])
    assert run.name == folder.name in repr(run)
    assert run.info.train_begin == settings.train_begin
    assert run.quality.good > 0
    assert run.metrics.test.rows > 0
    for table, name in ((run.hourly(), paths.HOURLY), (run.features(), paths.FEATURES)):
        files = sorted((folder / name).rglob("*.parquet"))
        wanted = pa.concat_tables([pq.ParquetFile(file).read() for file in files]).sort_by(runs.SORTED_BY[name])
        assert runs.same_bits(table, wanted.replace_schema_metadata(None).combine_chunks()) == []
    assert run.daily().column_names == schema.DAILY_SCHEMA.names
    assert run.predictions().column_names == schema.PREDICTIONS_SCHEMA.names


def test_a_run_stays_the_same_whatever_is_published_meanwhile(tmp_path: Path) -> None:
    settings = old_run.copied(tmp_path)
    run = loadcast.open_run(settings)
    current = tmp_path / "output" / paths.CURRENT
    current.unlink()
    current.symlink_to("runs/20300101T000000000000Z-abcdef")
    assert run.info.train_begin == settings.train_begin
    with pytest.raises(ArtefactError, match="runs repair"):
        loadcast.open_run(settings)


def test_what_a_run_lacks_is_an_error_that_says_who_makes_it(tmp_path: Path) -> None:
    settings = old_run.copied(tmp_path)
    folder = (tmp_path / "output" / paths.CURRENT).resolve()
    for name in (paths.METRICS, paths.QUALITY):
        (folder / name).unlink()
    (folder / paths.PREDICTIONS).rename(tmp_path / "gone")
    run = loadcast.open_run(settings)
    with pytest.raises(ArtefactError, match=r"has no metrics\.json, which run_train makes"):
        _ = run.metrics
    with pytest.raises(ArtefactError, match=r"has no quality\.json, which run_etl makes"):
        _ = run.quality
    with pytest.raises(ArtefactError, match=r"has no predictions\.parquet, which run_train makes"):
        run.predictions()
    with pytest.raises(ArtefactError, match="holds no published run"):
        loadcast.open_run(tmp_path)
    next((folder / paths.HOURLY).rglob("*.parquet")).write_bytes(b"PAR1")
    with pytest.raises(ArtefactError, match=r"hourlyfeature of Run.* cannot be read"):
        run.hourly()


def test_a_forecast_in_this_process_is_what_the_service_answers(tmp_path: Path) -> None:
    settings = old_run.copied(tmp_path)
    here = loadcast.forecast(settings, servers=old_run.SERVERS)
    assert here.schema == schema.FORECAST_SCHEMA
    assert here.num_rows == 2 * schema.HORIZON_HOURS
    assert set(here.column(schema.LABEL).to_pylist()) <= {"low", "medium", "high"}
    with running_service(Predictor.load(tmp_path / "output")) as url:
        assert loadcast.forecast(settings, servers=old_run.SERVERS, url=url).equals(here)
    begin = here.column(schema.HOUR)[0].as_py()
    for start in (begin, f"{begin}"):
        assert loadcast.forecast(settings, old_run.SERVERS, start, model=tmp_path / "output" / "model").equals(here)
    with pytest.raises(ConfigError, match="begin: found 'soon', wanted a time"):
        loadcast.forecast(settings, begin="soon")


@pytest.mark.parametrize("named", [str, Path, lambda folder: parse_settings({**PLAIN, "output": str(folder)})])
def test_a_model_is_loaded_by_all_that_names_it(named: object) -> None:
    assert loadcast.load_model(named(old_run.OUTPUT)).info.files  # type: ignore[operator]


PLAIN = {"dataFile": "none.csv", "duration": "ONE_MONTH"}
