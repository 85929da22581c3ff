"""Statistics in a container: the client brings the months that it needs, and says what it would say of a folder."""

from __future__ import annotations

import shutil
from datetime import datetime
from pathlib import Path

import pyarrow as pa
import pytest

from azurite import Azurite
from loadcast import paths
from loadcast.errors import InputError
from loadcast.serving.statistics import Statistics, newest_hour, open_statistics, scoring_features
from loadcast.storage.blob.access import Access
from loadcast.storage.blob.container import Container
from loadcast.storage.blob.location import BlobLocation
from loadcast.storage.blob.output import ContainerOutput
from published import hourly_statistics, month_folder, publish

pytestmark = pytest.mark.integration

SERVER, SILENT = "115.220.193.16", "10.0.0.7"
JULY = datetime(2016, 7, 1)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """January to June of one server, of which another has January alone."""
    tables = [hourly_statistics(SERVER, datetime(2016, 1, 1), 182 * 24)]
    tables += [hourly_statistics(SILENT, datetime(2016, 1, 1), 31 * 24)]
    return publish(tmp_path / "local", pa.concat_tables(tables))


@pytest.fixture
def output(azurite: Azurite, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ContainerOutput:
    """The same run in a container, of which nothing has been copied yet."""
    monkeypatch.setenv("LOADCAST_CACHE", str(tmp_path / "cache"))
    location = BlobLocation(azurite.endpoint, azurite.new_container())
    output = ContainerOutput(Container(location, Access("key", azurite.key)), "results")
    with output.stage() as staging:
        shutil.copytree(run, staging.folder, dirs_exist_ok=True)
    return output


def statistics_of(output: ContainerOutput) -> Statistics:
    return open_statistics(output.at_hand({paths.CURRENT: [paths.INFO]}), None, output.months)


def records(statistics: Statistics, servers: list[str] | None) -> list[dict[str, object]]:
    return [record for source in scoring_features(statistics, servers, JULY) for record in source.records()]


def copied(statistics: Statistics) -> set[str]:
    return {path.relative_to(statistics.folder).as_posix() for path in statistics.folder.glob("*/*/*")}


def test_only_the_months_that_features_look_back_to_are_brought(output: ContainerOutput, run: Path) -> None:
    statistics = statistics_of(output)
    assert copied(statistics) == set()
    assert newest_hour(statistics) == datetime(2016, 6, 30, 23)
    assert records(statistics, None) == records(open_statistics(run), None)
    wanted = {month_folder(kind, 2016, month) for kind in (paths.HOURLY, paths.DAILY) for month in (5, 6)}
    assert copied(statistics) == wanted


def test_a_server_that_was_silent_for_long_takes_more_of_them(output: ContainerOutput, run: Path) -> None:
    statistics = statistics_of(output)
    assert records(statistics, [SILENT]) == records(open_statistics(run), [SILENT])
    assert month_folder(paths.HOURLY, 2016, 1) in copied(statistics)
    with pytest.raises(InputError, match=r"Server 10\.9\.9\.9: found no statistics"):
        records(statistics, ["10.9.9.9"])


def test_a_month_that_is_gone_is_one_error_and_no_empty_one(output: ContainerOutput) -> None:
    statistics = statistics_of(output)
    assert newest_hour(statistics) == datetime(2016, 6, 30, 23)
    (statistics.folder / month_folder(paths.HOURLY, 2016, 6) / "part-0.parquet").unlink()
    with pytest.raises(InputError, match="is gone, or a part of it: newer runs have replaced"):
        newest_hour(statistics)
    assert newest_hour(statistics) == datetime(2016, 6, 30, 23)


def test_a_container_without_statistics_is_one_error(output: ContainerOutput) -> None:
    with output.stage(carry=[paths.INFO]):
        pass
    with pytest.raises(InputError, match="holds no hourly and daily statistics"):
        newest_hour(statistics_of(output))
