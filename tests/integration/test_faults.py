"""ETL through a network that fails: the right result or one clear error, never wrong numbers or half an output."""

from __future__ import annotations

import itertools
import random
import tempfile
import time
import traceback
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import runs
import sessions
from azurite import Azurite
from container_runs import KEY_VARIABLE, Place, container_run, differences
from faults import CUT, STALLED, UNAVAILABLE, FaultPlan, FaultProxy, Request, at, fault_proxy
from loadcast import paths
from loadcast.errors import ConfigError, InputError, LoadcastError, OutputError
from loadcast.settings import Settings
from secret_watch import SecretWatcher

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = [pytest.mark.integration, pytest.mark.slow]

DAYS, TEST_DAYS, FILES = 6, 1, 6
#: A run that the output holds already: readers see it until there is a new one.
BEFORE = "20160101T000000000000Z-000000"
#: A whole run makes some 100 requests: what happens to it happens at one of these, chosen at random.
FIRST, LAST = 3, 60
EXPIRES_AFTER_S = 5


@dataclass(frozen=True)
class Scene:
    """One run's containers behind a proxy of its own, and what a run without faults makes of the same data."""

    azurite: Azurite
    proxy: FaultProxy
    data: str
    output: str
    folder: Path
    wanted: Place

    def etl(self, plan: FaultPlan, signatures: Mapping[str, str] | None = None) -> LoadcastError | None:
        """Run ETL under a plan of faults; gives the error that it ends with.

        It goes through the proxy, with the account's key, or with the `signatures` of its containers.
        """
        from loadcast.pipeline.etl import run_etl

        self.proxy.set_plan(plan)
        try:
            run_etl(self.settings(signatures), False, runs.OPTIONS)
        except LoadcastError as error:
            return error
        finally:
            assert self.proxy.errors == []
        return None

    def settings(self, signatures: Mapping[str, str] | None = None) -> Settings:
        """Settings for data and output in the containers."""
        ends = {name: f"?{signature}" for name, signature in (signatures or {}).items()}
        return runs.make_settings(
            f"{self.proxy.endpoint}/{self.data}/*/*/request.csv{ends.get(self.data, '')}",
            f"{self.proxy.endpoint}/{self.output}{ends.get(self.output, '')}",  # type: ignore[arg-type]  # a URL will do
            DAYS,
            TEST_DAYS,
            storageAccount=self.azurite.account,
            storageEndpoint=self.proxy.endpoint,
            storageKey=None if signatures else f"env:{KEY_VARIABLE}",
        )

    def seen(self) -> dict[str, bytes]:
        """What readers see: the pointers, and the run that `current` names."""
        newest = self.azurite.content(self.output, paths.CURRENT).decode().strip()
        names = [name for name in self.azurite.names(self.output) if name.startswith(f"{paths.RUNS}/{newest}/")]
        return {name: self.azurite.content(self.output, name) for name in (paths.CURRENT, *names)}

    def check_right(self) -> None:
        """The output's newest run is a new one, as a run without faults makes it, beside the one before."""
        assert set(self.runs()) > {BEFORE}
        assert len(self.runs()) == 2
        run = container_run(self.azurite, self.output, self.settings(), self.folder / f"found-{time.monotonic_ns()}")
        assert differences(Place(run, (f"{self.proxy.endpoint}/{self.data}",)), self.wanted) == []

    def check_clear(self, error: LoadcastError, seen: Mapping[str, bytes], *secrets: str) -> None:
        """The error is one line that holds no secret, and readers see what they saw before."""
        assert "\n" not in str(error)
        watcher = SecretWatcher({str(number): secret for number, secret in enumerate((self.azurite.key, *secrets))})
        watcher.add("error", "".join(traceback.format_exception(error)))
        assert watcher.found() == []
        assert self.seen() == seen

    def runs(self) -> list[str]:
        """The runs of which the output holds anything."""
        return sorted({name.split("/")[1] for name in self.azurite.names(self.output, f"{paths.RUNS}/")})


@pytest.fixture(scope="module")
def undisturbed(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Place:
    """A run on local folders, which nothing disturbs."""
    folder = tmp_path_factory.mktemp("undisturbed")
    rows = sessions.hostile_log(5, days=DAYS, rows=2500, dirty=0.05)
    sessions.write_split(rows, folder / "data", FILES, 5, shuffle=False, plain=True)
    data = folder / "data" / "*" / "*" / "request.csv"
    return Place(runs.etl(runs.make_settings(data, folder / "output", DAYS, TEST_DAYS)), (str(folder / "data"),))


@pytest.fixture
def scene(azurite: Azurite, undisturbed: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Scene]:
    """Containers with the data, and an output that holds a run already; temporary files in a folder of their own."""
    data, output = azurite.new_container(), azurite.new_container()
    azurite.upload_folder(data, Path(undisturbed.data_roots[0]))
    earlier = tmp_path / "earlier"
    earlier.mkdir()
    for name in (paths.INFO, paths.QUALITY, ".complete"):
        (earlier / name).write_text("{}")
    azurite.upload_folder(output, earlier, f"{paths.RUNS}/{BEFORE}/")
    (earlier / paths.CURRENT).write_text(f"{BEFORE}\n")
    azurite.upload_folder(output, earlier)
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    monkeypatch.setenv("LOADCAST_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv(KEY_VARIABLE, azurite.key)
    with fault_proxy(azurite.endpoint) as proxy:
        yield Scene(azurite, proxy, data, output, tmp_path, undisturbed)
    assert list((tmp_path / "temporary").iterdir()) == []


def plans(**share: float) -> list[FaultPlan]:
    """Four plans under which something happens."""
    tried = (FaultPlan(seed, **share) for seed in itertools.count())  # type: ignore[arg-type]  # shares are by name
    return list(itertools.islice((plan for plan in tried if plan.is_eventful(LAST)), 4))


def plan_name(plan: FaultPlan) -> str:
    return f"{max((UNAVAILABLE, CUT, STALLED), key=lambda kind: getattr(plan, kind))}-{plan.seed}"


@pytest.mark.parametrize("plan", [*plans(unavailable=0.01), *plans(cut=0.05), *plans(stalled=0.02)], ids=plan_name)
def test_what_passes_changes_nothing(plan: FaultPlan, scene: Scene) -> None:
    assert scene.etl(plan) is None
    assert scene.proxy.done.total() > scene.proxy.done["requests"]
    scene.check_right()


@pytest.mark.parametrize("which", ["data", "output"])
@pytest.mark.parametrize("seed", range(2))
def test_a_sas_that_expires_during_the_run_is_one_clear_error(which: str, seed: int, scene: Scene) -> None:
    seen = scene.seen()
    expiry = datetime.now(timezone.utc).replace(microsecond=0) + timedelta(seconds=EXPIRES_AFTER_S)
    signatures = {name: scene.azurite.sas(name, "racwdl") for name in (scene.data, scene.output)}
    signatures[getattr(scene, which)] = scene.azurite.sas(getattr(scene, which), "racwdl", expiry=expiry)
    number = random.Random(seed).randrange(FIRST, LAST)
    error = scene.etl(FaultPlan(before=at(number, lambda: wait_until(expiry))), signatures)
    assert isinstance(error, ConfigError)
    assert "expired" in str(error)
    scene.check_clear(error, seen, *signatures.values())


def wait_until(moment: datetime) -> None:
    """Wait until some time after the moment, as far as Azurite's clock tells seconds."""
    time.sleep(max(0.0, (moment - datetime.now(timezone.utc)).total_seconds() + 1))


@pytest.mark.parametrize("which", ["data", "output"])
@pytest.mark.parametrize("seed", range(2))
def test_a_container_that_is_deleted_during_the_run_is_one_clear_error(which: str, seed: int, scene: Scene) -> None:
    seen = scene.seen()
    container = getattr(scene, which)
    number = random.Random(seed).randrange(FIRST, LAST)
    error = scene.etl(FaultPlan(before=at(number, lambda: scene.azurite.delete_container(container))))
    assert isinstance(error, InputError | OutputError)
    assert f"There is no container {container!r}" in str(error)
    if which == "output":
        assert container not in scene.azurite.containers()  # nor is it made anew
    else:
        scene.check_clear(error, seen)


def test_data_that_changes_during_the_run_is_one_clear_error_and_the_next_run_is_right(scene: Scene) -> None:
    seen = scene.seen()
    changed: list[str] = []

    def change(request: Request) -> None:
        """Write all data anew, with other numbers, once they are found and before the first of them is read."""
        if not changed and request.method == "GET" and f"/{scene.data}/" in request.path:
            for name in scene.azurite.names(scene.data):
                scene.azurite.put(scene.data, name, scene.azurite.content(scene.data, name).replace(b"1", b"2"))
                changed.append(name)

    error = scene.etl(FaultPlan(before=change))
    assert changed
    assert isinstance(error, InputError)
    assert "changed while it was being read" in str(error)
    scene.check_clear(error, seen)
    scene.azurite.upload_folder(scene.data, Path(scene.wanted.data_roots[0]))
    assert scene.etl(FaultPlan()) is None
    scene.check_right()


def test_a_run_is_published_once_when_the_answer_to_its_publishing_is_lost(scene: Scene) -> None:
    lost: list[Request] = []

    def is_first_to_publish(request: Request) -> bool:
        if request.method != "PUT" or not request.path.partition("?")[0].endswith(f"/{paths.CURRENT}") or lost:
            return False
        lost.append(request)
        return True

    assert scene.etl(FaultPlan(cut=1.0, applies=is_first_to_publish)) is None
    assert scene.proxy.done[CUT] == 1
    scene.check_right()
