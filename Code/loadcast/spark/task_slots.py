"""How many tasks can run at once: a barrier stage wants slots for all of its tasks, and would wait for them."""

from __future__ import annotations

import time

from pyspark.sql import SparkSession

from loadcast.errors import ConfigError, EnvironmentNotReadyError
from loadcast.spark.session import is_local

_WAIT_S = 120.0
_LOOK_S = 0.5
_DYNAMIC = "spark.dynamicAllocation.enabled"


def task_slots(spark: SparkSession, wait_s: float = _WAIT_S) -> int:
    """The slots for tasks that there are, once the executors asked for have come or `wait_s` is over.

    Raises ConfigError where executors come and go, which Spark's barrier stages do not allow, and
    EnvironmentNotReadyError where there is no slot.
    """
    context = spark.sparkContext
    if not is_local(context.master) and _setting(spark, _DYNAMIC, "false").lower() == "true":
        raise ConfigError(
            f"Boosted trees grow in tasks that all run at once, and {_DYNAMIC} is true: Spark does not allow that. "
            f"Run with --conf {_DYNAMIC}=false --conf spark.executor.instances=N."
        )
    wanted, until = _wanted(spark), time.monotonic() + wait_s
    slots = _slots(spark)
    while slots < wanted and time.monotonic() < until:
        time.sleep(_LOOK_S)
        slots = _slots(spark)
    if not slots:
        raise EnvironmentNotReadyError(
            f"Boosted trees grow in tasks that all run at once: found no slot for a task after {wait_s:g} s, wanted 1 "
            "or more. See that executors of this application start, with at least spark.task.cpus cores each."
        )
    return slots


def threads_of_task(spark: SparkSession) -> int:
    """The cores that Spark keeps for a task."""
    return int(_setting(spark, "spark.task.cpus", "1"))


def _wanted(spark: SparkSession) -> int:
    """The slots of all executors that the settings ask for; 1 where they do not say."""
    executors, cores = (int(_setting(spark, f"spark.executor.{name}", "1")) for name in ("instances", "cores"))
    return max(1, executors * (cores // threads_of_task(spark)))


def _slots(spark: SparkSession) -> int:
    whole = spark.sparkContext._jsc.sc()
    return int(whole.maxNumConcurrentTasks(whole.resourceProfileManager().resourceProfileFromId(0)))


def _setting(spark: SparkSession, name: str, default: str) -> str:
    return str(spark.sparkContext.getConf().get(name, default))
