"""What scripts log about their run: one whole line a call, whoever else writes, and nothing where nobody asked."""

from __future__ import annotations

import json
import math
import multiprocessing
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadcast import run_logger as module
from loadcast.errors import ConfigError, InputError, OutputError
from loadcast.run_logger import Logged, RunLogger, clean_name, read_logged, run_logger, series

NUMBERS = st.floats(allow_infinity=False) | st.integers(-(2**53), 2**53)
SECRET = "sig=abcDEF123%2Fsecret"


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "run.jsonl"
    monkeypatch.setenv(module.VARIABLE, str(path))
    monkeypatch.chdir(tmp_path)
    return path


def values_of(path: Path, name: str) -> list[float]:
    return [value for _, value in series(read_logged(path))[name]]


@given(st.lists(NUMBERS, max_size=250), NUMBERS)
def test_what_is_logged_is_read_in_order(tmp_path_factory: pytest.TempPathFactory, several: list[float], last: float):
    path = tmp_path_factory.mktemp("log") / "run.jsonl"
    logger = RunLogger(path)
    logger.log("test/loss", several)
    logger.log("test/loss", last)
    assert np.array_equal(values_of(path, "test/loss"), [*map(float, several), float(last)], equal_nan=True)
    assert all(len(line) < module.LONGEST_LINE for line in path.read_bytes().splitlines())


def test_numbers_of_numpy_are_numbers(log: Path) -> None:
    for value in (np.float32(0.5), np.int64(3), np.array(2.0), np.array([1, 2])):
        run_logger().log("x", value)
    assert values_of(log, "x") == [0.5, 3, 2, 1, 2]


@pytest.mark.parametrize("value", [math.inf, -math.inf, [1, math.inf], "1", b"1", True, None, {}, [[1]], 10**400, 1j])
def test_what_is_no_finite_number_is_refused(log: Path, value: object) -> None:
    with pytest.raises(ConfigError, match=r"wanted a finite number or nan"):
        run_logger().log("x", value)  # type: ignore[arg-type]
    assert not log.exists()


def test_a_stream_without_end_is_refused(log: Path) -> None:
    with pytest.raises(ConfigError, match="more than"):
        run_logger().log("x", iter(int, 1))


@pytest.mark.parametrize("name", ["", "a" * 251, "/a", "a/", "a//b", "../a", "a/..", ".", "a\nb", "a:b", "ä", "a'", 3])
def test_names_that_no_history_takes_are_refused(log: Path, name: str) -> None:
    for call in (run_logger().log, run_logger().log_text):
        with pytest.raises(ConfigError, match="A logged name"):
            call(name, 1)  # type: ignore[operator]
    assert not log.exists()


@given(st.text(max_size=300))
def test_any_text_becomes_part_of_a_name(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    RunLogger(None).log(f"seconds/{clean_name(text)[:200]}", 1)


@given(st.text())
def test_texts_are_one_line_and_fit(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = tmp_path_factory.mktemp("log") / "run.jsonl"
    RunLogger(path).log_text("t", text * 50)
    (logged,) = read_logged(path)
    assert logged.text.isprintable()


def test_secrets_stay_out(log: Path) -> None:
    run_logger().log_text("data", f"https://account.blob.core.windows.net/logs?{SECRET}")
    with pytest.raises(ConfigError) as caught:
        run_logger().log("x", SECRET)  # type: ignore[arg-type]
    assert "secret" not in log.read_text() + str(caught.value)


def test_files_are_kept_below_outputs(log: Path, tmp_path: Path) -> None:
    (tmp_path / "outputs" / "deep").mkdir(parents=True)
    (tmp_path / "outputs" / "deep" / "there.json").write_text("1")
    (tmp_path / "picture; $(x).png").write_bytes(b"png")
    run_logger().log_file("outputs/deep/there.json")
    run_logger().log_file(tmp_path / "picture; $(x).png")
    (tmp_path / "best.png").symlink_to(tmp_path / "picture; $(x).png")
    run_logger().log_file("best.png")
    assert [item.text for item in read_logged(log)] == ["deep/there.json", "picture; $(x).png", "best.png"]
    assert not (tmp_path / "outputs" / "best.png").is_symlink()
    assert (tmp_path / "outputs" / "picture; $(x).png").read_bytes() == b"png"
    with pytest.raises(InputError, match="found no file missing"):
        run_logger().log_file("missing")


def test_without_the_variable_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(module.VARIABLE, raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    logger = run_logger()
    logger.log("x", 1)
    logger.log_text("x", "t")
    logger.log_file("file")
    assert not logger.enabled
    assert os.listdir(tmp_path) == ["file"]


def test_a_log_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"LOADCAST_RUN_LOG names: No such file"):
        RunLogger(tmp_path / "missing" / "log").log("x", 1)


@pytest.mark.parametrize("torn", [b'{"time":1,"kind":"met', b"\xff\x00", b"[1]", b"{}", b"[" * 3000, b"x" * 9000])
def test_a_torn_line_costs_only_itself(log: Path, torn: bytes) -> None:
    run_logger().log("x", 1)
    log.write_bytes(log.read_bytes() + torn)
    assert values_of(log, "x") == [1]
    run_logger().log("x", 2)
    assert values_of(log, "x") == [1, 2]


LINE = {"time": 1, "kind": "metric", "name": "x", "value": [1]}


@pytest.mark.parametrize(
    "change",
    [{"name": "../x"}, {"name": 1}, {"kind": "other"}, {"kind": []}, {"value": 1}, {"value": ["1"]}, {"time": "NaN"}],
)
def test_lines_of_another_form_are_passed_over(log: Path, change: dict[str, object]) -> None:
    log.write_text(json.dumps(LINE | change) + "\n" + json.dumps(LINE) + "\n")
    assert read_logged(log) == [Logged("metric", "x", 1.0, (1.0,))]


def test_no_log_is_an_empty_one(tmp_path: Path) -> None:
    assert read_logged(tmp_path / "missing") == []
    with pytest.raises(InputError, match="Cannot read"):
        read_logged(tmp_path)


def _write_many(path: str, worker: int) -> None:
    for index in range(100):
        RunLogger(Path(path)).log(f"worker {worker}", [index] * 150)


def test_processes_that_write_at_once_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "log"
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=_write_many, args=(str(path), worker)) for worker in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    logged = read_logged(path)
    assert len(logged) == 3 * 100 * 2
    # The two lines of a call stand together.
    assert all(first.name == second.name for first, second in zip(logged[::2], logged[1::2], strict=True))


def test_importing_it_brings_only_the_standard_library() -> None:
    argv = [sys.executable, "-c", "import sys, loadcast.run_logger; print(*sys.modules)"]
    modules = subprocess.run(argv, capture_output=True, text=True, check=True).stdout.split()
    own = {name for name in modules if name.partition(".")[0] == "loadcast"}
    assert own <= {"loadcast", *(f"loadcast.{name}" for name in ("run_logger", "errors", "secrets", "printable"))}
    slow = {"inspect", "dataclasses", "shutil", "asyncio", "numpy", "pydantic", "click", "pyarrow", "mlflow"}
    assert not slow & set(modules)
