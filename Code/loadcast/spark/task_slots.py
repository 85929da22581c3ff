"""What can run at once: the tasks of a barrier stage, which would wait for slots, and threads of the driver."""

from __future__ import annotations

import re
import time

from pyspark.sql import SparkSession

from loadcast.errors import ConfigError, EnvironmentNotReadyError
from loadcast.secrets import shown
from loadcast.spark.session import is_local
from loadcast.system.cores import usable_cores

_WAIT_S = 120.0
_LOOK_S = 0.5
#: Each is a thread of the driver that waits.
_MOST_SIDE_BY_SIDE = 256
_DYNAMIC = "spark.dynamicAllocation.enabled"
_DEPLOY_MODE = "spark.submit.deployMode"
_DRIVER_CORES = "spark.driver.cores"
_NUMBER = re.compile(r"[1-9][0-9]{0,5}")


def task_slots(spark: SparkSession, grown: str, wait_s: float = _WAIT_S) -> int:
    """The slots for tasks that there are, once the executors asked for have come or `wait_s` is over.

    `grown` is what messages say that grows in these tasks, such as "Boosted trees". Raises ConfigError where executors
    come and go, which Spark's barrier stages do not allow, and EnvironmentNotReadyError where there is no slot.
    """
    context = spark.sparkContext
    if not is_local(context.master) and _setting(spark, _DYNAMIC, "false").lower() == "true":
        raise ConfigError(
            f"{grown} grow in tasks that all run at once, and {_DYNAMIC} is true: Spark does not allow that. "
            f"Run with --conf {_DYNAMIC}=false --conf spark.executor.instances=N."
        )
    wanted, until = _wanted(spark), time.monotonic() + wait_s
    slots = _slots(spark)
    while slots < wanted and time.monotonic() < until:
        time.sleep(_LOOK_S)
        slots = _slots(spark)
    if not slots:
        raise EnvironmentNotReadyError(
            f"{grown} grow in tasks that all run at once: found no slot for a task after {wait_s:g} s, wanted 1 "
            "or more. See that executors of this application start, with at least spark.task.cpus cores each."
        )
    return slots


def threads_of_task(spark: SparkSession) -> int:
    """The cores that Spark keeps for a task."""
    return int(_setting(spark, "spark.task.cpus", "1"))


def threads_here(spark: SparkSession) -> int:
    """How many threads this process may work with where Spark's tasks do not.

    Where Spark runs on this machine alone, those that the tasks would have. On a cluster what spark.driver.cores says;
    where it says nothing, one core if the cluster runs this process, too, as Spark asks it for no more, else all that
    this machine lets it use: the machine is the client's own.
    """
    if is_local(spark.sparkContext.master):
        return max(1, _slots(spark) * threads_of_task(spark))
    is_clusters = _setting(spark, _DEPLOY_MODE, "client") == "cluster"
    asked = _setting(spark, _DRIVER_CORES, "1" if is_clusters else str(usable_cores()))
    if not _NUMBER.fullmatch(asked):
        raise ConfigError(f"{_DRIVER_CORES}: found {shown(repr(asked), 100)}, wanted a whole number from 1 on.")
    return min(int(asked), usable_cores())


def slots_side_by_side(spark: SparkSession) -> int:
    """How many jobs of one task each are worth starting side by side."""
    return min(_MOST_SIDE_BY_SIDE, max(1, spark.sparkContext.defaultParallelism // threads_of_task(spark)))


def _wanted(spark: SparkSession) -> int:
    """The slots of all executors that the settings ask for; 1 where they do not say, or there is this process alone."""
    if is_local(spark.sparkContext.master):
        return 1  # its slots are there at once, whatever is said of executors
    executors, cores = (int(_setting(spark, f"spark.executor.{name}", "1")) for name in ("instances", "cores"))
    return max(1, executors * (cores // threads_of_task(spark)))


def _slots(spark: SparkSession) -> int:
    whole = spark.sparkContext._jsc.sc()
    return int(whole.maxNumConcurrentTasks(whole.resourceProfileManager().resourceProfileFromId(0)))


def _setting(spark: SparkSession, name: str, default: str) -> str:
    return str(spark.sparkContext.getConf().get(name, default))
