"""ETL through a network that fails: the right result or one clear error, never wrong numbers or half an output."""

from __future__ import annotations

import itertools
import os
import random
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import runs
import sessions
from azurite import Azurite
from container_runs import KEY_VARIABLE, Place, container_run, differences
from faults import CUT, OUTAGE, STALLED, UNAVAILABLE, FaultPlan, FaultProxy, Request, fault_proxy, once
from loadcast import paths
from loadcast.errors import ConfigError, InputError, LoadcastError, OutputError
from loadcast.settings import Settings
from loadcast.storage.blob import client
from loadcast.storage.blob.policy import Patience, Policy
from secret_watch import SecretWatcher

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = [pytest.mark.integration, pytest.mark.slow]

DAYS, TEST_DAYS, FILES = 6, 1, 6
#: A run that the output holds already: readers see it until there is a new one.
BEFORE = "20160101T000000000000Z-000000"
COMPLETE = ".complete"
#: A whole run makes more requests than this.
REQUESTS = 40
EXPIRES_AFTER_S = 5
#: How many runs go through a bad network, each with a seed of its own.
RUNS_VARIABLE = "LOADCAST_NETWORK_RUNS"
#: Before the first request of that kind for such a blob of that container, something happens.
MOMENTS = [
    ("data", "GET", "/request.csv"),
    ("output", "PUT", "/info"),
    ("output", "PUT", f"/{COMPLETE}"),
    ("output", "PUT", f"/{paths.CURRENT}"),
]
at_each_moment = pytest.mark.parametrize(("which", "method", "end"), MOMENTS, ids=[end for _, _, end in MOMENTS])


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
        from loadcast.pipeline.run import run_etl

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
        assert f"{paths.RUNS}/{max(self.runs())}/{COMPLETE}" in self.seen()
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
    for name in (paths.INFO, paths.QUALITY, COMPLETE):
        azurite.put(output, f"{paths.RUNS}/{BEFORE}/{name}", b"{}")
    azurite.put(output, paths.CURRENT, f"{BEFORE}\n".encode())
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
    return list(itertools.islice((plan for plan in tried if plan.is_eventful(REQUESTS)), 4))


def plan_name(plan: FaultPlan) -> str:
    return f"{max((UNAVAILABLE, CUT, STALLED), key=lambda kind: getattr(plan, kind))}-{plan.seed}"


@pytest.mark.parametrize("plan", [*plans(unavailable=0.01), *plans(cut=0.05), *plans(stalled=0.01)], ids=plan_name)
def test_what_passes_changes_nothing(plan: FaultPlan, scene: Scene) -> None:
    assert scene.etl(plan) is None
    assert scene.proxy.done.total() > scene.proxy.done["requests"]
    scene.check_right()


def bad_network(seed: int) -> FaultPlan:
    """Everything that a network can do at once, twice away for 1 to 20 seconds among the first requests."""
    chance = random.Random(seed)
    outages = tuple((chance.randrange(1, REQUESTS), chance.uniform(1, 20)) for _ in range(2))
    shares = {"unavailable": 0.02, "cut": 0.05, "stalled": 0.02, "dripped": 0.02, "truncated": 0.04, "portal": 0.02}
    return FaultPlan(seed, outages=outages, **shares)  # type: ignore[arg-type]  # shares are by name


@pytest.mark.parametrize("seed", range(int(os.environ.get(RUNS_VARIABLE, "2"))))
def test_a_network_that_is_away_drips_cuts_and_resets_changes_nothing(seed: int, scene: Scene) -> None:
    assert scene.etl(bad_network(seed)) is None
    assert scene.proxy.done[OUTAGE] == 2
    scene.check_right()


@at_each_moment
def test_a_sas_that_expires_during_the_run_is_one_clear_error(which: str, method: str, end: str, scene: Scene) -> None:
    seen, container = scene.seen(), getattr(scene, which)
    expiry = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=EXPIRES_AFTER_S)
    signatures = {name: scene.azurite.sas(name, "racwdl") for name in (scene.data, scene.output)}
    signatures[container] = scene.azurite.sas(container, "racwdl", expiry=expiry)
    error = scene.etl(FaultPlan(before=once(asks_for(container, end, method), lambda: wait_until(expiry))), signatures)
    assert isinstance(error, ConfigError)
    assert "expired" in str(error)
    scene.check_clear(error, seen, *signatures.values())


@at_each_moment
def test_a_container_that_is_deleted_during_the_run_is_one_clear_error(
    which: str, method: str, end: str, scene: Scene
) -> None:
    seen, container = scene.seen(), getattr(scene, which)
    delete = once(asks_for(container, end, method), lambda: scene.azurite.delete_container(container))
    error = scene.etl(FaultPlan(before=delete))
    assert isinstance(error, InputError | OutputError)
    assert f"There is no container {container!r}" in str(error)
    if which == "data":
        scene.check_clear(error, seen)
    else:
        assert container not in scene.azurite.containers()  # nor is it made anew


def asks_for(container: str, end: str, method: str = "PUT") -> Callable[[Request], bool]:
    """Whether a request writes (or reads) a blob of a container whose name has such an end.

    `current` is written when the run is complete: before, it is only claimed.
    """
    complete: list[Request] = []

    def matches(request: Request) -> bool:
        path = request.path.partition("?")[0]
        if request.method == "PUT" and f"/{container}/" in path and path.endswith(COMPLETE):
            complete.append(request)
        asked = request.method == method and f"/{container}/" in path and path.endswith(end)
        return asked and (end != f"/{paths.CURRENT}" or complete != [])

    return matches


def wait_until(moment: datetime) -> None:
    """Wait until some time after the moment, as far as Azurite's clock tells seconds."""
    time.sleep(max(0.0, (moment - datetime.now(UTC)).total_seconds() + 1))


def test_data_that_changes_during_the_run_is_one_clear_error_and_the_next_run_is_right(scene: Scene) -> None:
    seen = scene.seen()

    def change() -> None:
        """Write all data anew, with other numbers."""
        for name in scene.azurite.names(scene.data):
            scene.azurite.put(scene.data, name, scene.azurite.content(scene.data, name).replace(b"1", b"2"))

    # The data is found already, and the first file of it not read.
    error = scene.etl(FaultPlan(before=once(asks_for(scene.data, "/request.csv", "GET"), change)))
    assert isinstance(error, InputError)
    assert "changed while it was being read" in str(error)
    scene.check_clear(error, seen)
    scene.azurite.upload_folder(scene.data, Path(scene.wanted.data_roots[0]))
    assert scene.etl(FaultPlan()) is None
    scene.check_right()


def test_a_run_is_published_once_when_the_answer_to_its_publishing_is_lost(scene: Scene) -> None:
    publishes, lost = asks_for(scene.output, f"/{paths.CURRENT}"), list[Request]()

    def first_publishing(request: Request) -> bool:
        if publishes(request) and not lost:
            lost.append(request)
        return request in lost

    assert scene.etl(FaultPlan(cut=1.0, applies=first_publishing)) is None
    assert scene.proxy.done[CUT] == 1
    scene.check_right()


def test_what_fails_after_publishing_leaves_the_new_run(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "Policy", lambda: Policy(Patience(deadline_s=1, first_pause_s=0.1)))
    publishes, published = asks_for(scene.output, f"/{paths.CURRENT}"), list[Request]()

    def next_reading(request: Request) -> bool:
        if publishes(request):
            published.append(request)
        return bool(published) and request.method == "GET"

    assert scene.etl(FaultPlan(unavailable=1.0, applies=next_reading)) is None
    assert scene.proxy.done[UNAVAILABLE] > 0
    scene.check_right()
