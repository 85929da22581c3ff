"""What a user hears when Spark fails."""

from __future__ import annotations

import subprocess
from types import SimpleNamespace

import pytest
from py4j.protocol import Py4JError, Py4JNetworkError
from pyspark import SparkContext
from pyspark.errors import PythonException
from pyspark.sql import SparkSession

from loadcast.errors import EngineError, EnvironmentNotReadyError, InputError, OutputError
from loadcast.spark.failures import spark_failures, start_failure

pytestmark = pytest.mark.spark


def raised_by(error: Exception) -> BaseException:
    with pytest.raises(Exception) as caught, spark_failures():  # noqa: PT011  # any: the test looks at it
        raise error
    return caught.value


def test_a_workers_own_error_comes_back() -> None:
    report = "Traceback:\n  File x\nloadcast.errors.InputError: Cannot read a.gz: it ends early.\n\tat org.apache"
    assert isinstance(error := raised_by(PythonException(report)), InputError)
    assert str(error) == "Cannot read a.gz: it ends early."


def test_another_failure_names_its_cause() -> None:
    report = "An exception was thrown:\nTraceback\n  File x\nValueError: no such thing\n\tat org.apache.spark"
    error = raised_by(PythonException(report))
    assert isinstance(error, EngineError)
    assert str(error).startswith("Spark failed: ValueError: no such thing. Nothing was published.")


def test_a_dead_jvm_is_an_engine_error() -> None:
    assert isinstance(raised_by(ConnectionRefusedError(111, "Connection refused")), EngineError)
    assert isinstance(raised_by(Py4JError("An error occurred while calling o42.collect")), EngineError)


def test_a_full_disk_is_an_output_error_wherever_it_is() -> None:
    for report in ("OSError: [Errno 28] No space left on device", "java.io.IOException: No space left on device"):
        with pytest.raises(OutputError, match="Cannot write to /out: no space left on device"), spark_failures("/out"):
            raise PythonException(report)
    assert isinstance(
        start_failure(RuntimeError("Java gateway process exited"), "No space left on device"), OutputError
    )


@pytest.fixture
def killed_java(monkeypatch: pytest.MonkeyPatch) -> None:
    """A session whose Java process was killed."""
    process = subprocess.Popen(["sleep", "60"])
    process.kill()
    monkeypatch.setattr(SparkContext, "_gateway", SimpleNamespace(proc=process))


@pytest.mark.usefixtures("killed_java")
def test_a_java_process_that_was_killed_is_told_as_that() -> None:
    for error in (
        ConnectionRefusedError(111, "Connection refused"),
        Py4JNetworkError("Answer from Java side is empty"),
    ):
        assert "was killed by SIGKILL: the machine may be out of memory" in str(raised_by(error))
        assert "--master" not in str(start_failure(error, ""))


def test_one_that_never_was_is_blamed_on_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SparkContext, "_gateway", None)
    error = start_failure(RuntimeError("Java gateway process exited"), "Unrecognized option")
    assert isinstance(error, EnvironmentNotReadyError)
    assert "Check --master and --conf" in str(error)


def test_a_bug_of_ours_is_not_dressed_up() -> None:
    assert isinstance(raised_by(KeyError("x")), KeyError)


def test_a_real_workers_bug_is_named(spark: SparkSession) -> None:
    def fail(batches):  # type: ignore[no-untyped-def]
        raise ValueError("no such thing")

    with pytest.raises(EngineError, match="ValueError: no such thing"), spark_failures():
        spark.range(1).mapInArrow(fail, "id long").collect()
