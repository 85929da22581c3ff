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


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(task_slots, "_LOOK_S", 0.001)


def test_executors_that_come_late_are_waited_for() -> None:
    asked = {"spark_executor_instances": "3", "spark_executor_cores": "4", "spark_task_cpus": "2"}
    assert task_slots.task_slots(session([0, 2, 4, 6, 8], **asked)) == 6
    assert task_slots.task_slots(session([0, 2, 4], **asked), wait_s=0.05) == 4
    assert task_slots.task_slots(session([0, 5])) == 5


def test_without_any_slot_it_says_so_and_does_not_wait_for_ever() -> None:
    with pytest.raises(EnvironmentNotReadyError, match=r"found no slot for a task after 0\.01 s, wanted 1 or more"):
        task_slots.task_slots(session([0]), wait_s=0.01)


def test_executors_that_come_and_go_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"--conf spark\.dynamicAllocation\.enabled=false"):
        task_slots.task_slots(session([4], spark_dynamicAllocation_enabled="true"))
    assert task_slots.task_slots(session([4], "local[4]", spark_dynamicAllocation_enabled="true")) == 4


def test_workers_are_as_many_as_slots_and_rows_allow() -> None:
    assert boosted.workers_for(session([8], spark_task_cpus="2"), 1_000_000) == (8, 2)
    assert boosted.workers_for(session([8]), 2 * boosted.ROWS_OF_WORKER) == (2, 1)
    assert boosted.workers_for(session([8]), 1) == (1, 1)
    assert boosted.workers_for(session([8], "local[8]"), 1_000_000) == (1, 8)
    with pytest.raises(InputError, match="no training rows"):
        boosted.workers_for(session([8]), 0)
