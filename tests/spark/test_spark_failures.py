"""What a user hears when Spark fails."""

from __future__ import annotations

import pytest
from py4j.protocol import Py4JError
from pyspark.errors import PythonException
from pyspark.sql import SparkSession

from loadcast.errors import EngineError, InputError
from loadcast.spark.failures import spark_failures

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


def test_a_bug_of_ours_is_not_dressed_up() -> None:
    assert isinstance(raised_by(KeyError("x")), KeyError)


def test_a_real_workers_bug_is_named(spark: SparkSession) -> None:
    def fail(batches):  # type: ignore[no-untyped-def]
        raise ValueError("no such thing")

    with pytest.raises(EngineError, match="ValueError: no such thing"), spark_failures():
        spark.range(1).mapInArrow(fail, "id long").collect()
