"""Slots for tasks are asked for before a barrier stage would wait for them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from loadcast.errors import ConfigError, EnvironmentNotReadyError, InputError
from loadcast.spark import boosted, task_slots


def session(slots: list[int], master: str = "yarn", **settings: str) -> Any:
    """What is asked of a session that has so many slots, look after look."""
    whole = SimpleNamespace(
        maxNumConcurrentTasks=lambda profile: slots.pop(0) if len(slots) > 1 else slots[0],
        resourceProfileManager=lambda: SimpleNamespace(resourceProfileFromId=lambda number: number),
    )
    known = {name.replace("_", "."): value for name, value in settings.items()}
    context = SimpleNamespace(
        master=master,
        getConf=lambda: SimpleNamespace(get=lambda name, default: known.get(name, default)),
        _jsc=SimpleNamespace(sc=lambda: whole),
    )
    return SimpleNamespace(sparkContext=context)


def slots(spark: Any, **given: float) -> int:
    return task_slots.task_slots(spark, "Shrubs", **given)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(task_slots, "_LOOK_S", 0.001)


def test_executors_that_come_late_are_waited_for() -> None:
    asked = {"spark_executor_instances": "3", "spark_executor_cores": "4", "spark_task_cpus": "2"}
    assert slots(session([0, 2, 4, 6, 8], **asked)) == 6
    assert slots(session([0, 2, 4], **asked), wait_s=0.05) == 4
    assert slots(session([0, 5])) == 5


def test_on_one_machine_nobody_waits_for_executors() -> None:
    """Which settings for a cluster may name: there, none of them comes."""
    asked = {"spark_executor_instances": "8", "spark_executor_cores": "4"}
    assert slots(session([2, 32], "local[2]", **asked), wait_s=0.05) == 2


def test_without_any_slot_it_says_so_and_does_not_wait_for_ever() -> None:
    with pytest.raises(
        EnvironmentNotReadyError, match=r"^Shrubs grow in .* no slot for a task after 0\.01 s, wanted 1"
    ):
        slots(session([0]), wait_s=0.01)


def test_executors_that_come_and_go_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"^Shrubs grow in tasks .* --conf spark\.dynamicAllocation\.enabled=false"):
        slots(session([4], spark_dynamicAllocation_enabled="true"))
    assert slots(session([4], "local[4]", spark_dynamicAllocation_enabled="true")) == 4


def test_workers_are_as_many_as_slots_and_rows_allow() -> None:
    assert boosted.workers_for(session([8], spark_task_cpus="2"), 1_000_000) == (8, 2)
    assert boosted.workers_for(session([8]), 2 * boosted.ROWS_OF_WORKER) == (2, 1)
    assert boosted.workers_for(session([8]), 1) == (1, 1)
    assert boosted.workers_for(session([8], "local[8]"), 1_000_000) == (1, 8)
    with pytest.raises(InputError, match="no training rows"):
        boosted.workers_for(session([8]), 0)


@pytest.mark.parametrize(
    ("master", "settings", "threads"),
    [
        ("local[4]", {}, 4),
        ("local[4]", {"spark_driver_cores": "2"}, 4),  # as all of Spark there, which takes no notice of it
        ("yarn", {"spark_submit_deployMode": "cluster"}, 1),  # as Spark asks YARN for no more
        ("yarn", {"spark_submit_deployMode": "cluster", "spark_driver_cores": "6"}, 6),
        ("k8s://https://host", {"spark_submit_deployMode": "cluster", "spark_driver_cores": "64"}, 8),
        ("yarn", {"spark_submit_deployMode": "client"}, 8),  # a machine of its own
        ("spark://host:7077", {}, 8),
        ("spark://host:7077", {"spark_driver_cores": "3"}, 3),
    ],
)
def test_the_driver_works_with_the_cores_that_it_was_given(
    monkeypatch: pytest.MonkeyPatch, master: str, settings: dict[str, str], threads: int
) -> None:
    monkeypatch.setattr(task_slots, "usable_cores", lambda: 8)
    assert task_slots.threads_here(session([4], master, **settings)) == threads


def test_a_forest_on_one_machine_asks_nobody_for_slots() -> None:
    """Nothing of it grows in tasks: no message may say so, and none is waited for."""
    asked = {"spark_dynamicAllocation_enabled": "true", "spark_executor_instances": "9"}
    assert task_slots.threads_here(session([0, 0, 0], "local[2]", **asked)) == 1


@pytest.mark.parametrize("cores", ["", "two", "0", "-1", "1.5", "9" * 500])
def test_cores_of_the_driver_that_are_no_number_are_refused(cores: str) -> None:
    with pytest.raises(ConfigError, match=r"^spark\.driver\.cores: found '.*, wanted a whole number from 1 on"):
        task_slots.threads_here(session([4], spark_driver_cores=cores))
