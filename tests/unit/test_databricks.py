"""Plans, packages, logins and states of Databricks, without any workspace."""

from __future__ import annotations

from typing import Any

import pytest

from loadcast.errors import ConfigError
from loadcast.experiments.compute import parse_compute
from loadcast.experiments.conda import Environment
from loadcast.experiments.services.databricks import DatabricksPlan
from loadcast.experiments.target_types import Job
from loadcast.experiments.targets import type_of

FOLDER = "/Volumes/main/loadcast/files"
BASE = {"type": "databricks", "address": "adb-1.2.azuredatabricks.net", "folder": FOLDER}
NEW = {**BASE, "sparkVersion": "16.4.x-scala2.12", "nodeType": "Standard_D4ds_v5"}
CLIENT = "5a6b0000-1111-2222-3333-444455556666"
SHARED = {**BASE, "clusterId": "0922-112415-abcdefgh"}
HASH = "ab" * 32


def plan(fields: dict[str, object], job: Job) -> dict[str, Any]:
    target = parse_compute(fields)
    made = type_of(target).plan(target, job)
    assert isinstance(made, DatabricksPlan)
    return made.request([("Code/a.py", HASH, True)])


def test_a_script_gets_a_cluster_of_its_own_with_its_packages_and_settings() -> None:
    job = Job(("Code/a.py", "x y"), {"A": "1"}, HASH, {"spark.sql.shuffle.partitions": "8"}, ("KEY",))
    assert plan({**NEW, "workers": 4}, job) == {
        "argv": ["Code/a.py", "x y"],
        "environment": {"A": "1"},
        "entries": [["Code/a.py", HASH, True]],
        "task": {
            "task_key": "script",
            "new_cluster": {
                "spark_version": "16.4.x-scala2.12",
                "node_type_id": "Standard_D4ds_v5",
                "num_workers": 4,
                "data_security_mode": "SINGLE_USER",
                "spark_conf": {"spark.sql.shuffle.partitions": "8"},
            },
            "libraries": [{"requirements": f"{FOLDER}/environments/{HASH}.txt"}],
        },
    }


def test_a_cluster_without_workers_is_one_machine_and_one_that_is_there_keeps_its_settings() -> None:
    job = Job(("a.py",), {})
    cluster = plan({**NEW, "workers": 0}, job)["task"]["new_cluster"]
    assert cluster["spark_conf"]["spark.master"] == "local[*]"
    assert cluster["custom_tags"] == {"ResourceClass": "SingleNode"}
    assert plan(SHARED, job)["task"] == {"task_key": "script", "existing_cluster_id": "0922-112415-abcdefgh"}
    with pytest.raises(ConfigError, match="the cluster of clusterId has its own"):
        plan(SHARED, Job(("a.py",), {}, spark={"spark.executor.memory": "2g"}))


def test_an_option_of_the_interpreter_is_refused() -> None:
    with pytest.raises(ConfigError, match="wanted the script first"):
        plan(NEW, Job(("-u", "a.py"), {}))


def test_packages_are_pips_but_for_those_of_the_runtime() -> None:
    target = parse_compute(NEW)
    wanted = ("pyspark==4.3.0", "PySpark [sql]", "py4j", "pandas==2.3.3", "pyspark-extra", "-r more.txt")
    recipe = type_of(target).recipe(target, Environment("3.12", ("pip", "conda-forge::openjdk=17"), wanted))
    assert recipe.spec == {"requirements": ["pandas==2.3.3", "pyspark-extra", "-r more.txt"]}
    with pytest.raises(ConfigError, match=r"found gdal=3, r-base, wanted packages of pip's list alone"):
        type_of(target).recipe(target, Environment("3.12", ("pip", "gdal=3", "r-base"), ()))


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        (BASE, "sparkVersion: found nothing, wanted it or clusterId; nodeType: found nothing, wanted it or clusterId"),
        ({**SHARED, "workers": 2}, "workers: found clusterId as well, wanted one of them"),
        ({**SHARED, "token": "env:T", "clientId": CLIENT, "clientSecret": "env:S"}, "token: found clientId as well"),
        ({**SHARED, "clientId": CLIENT}, "clientId: wanted clientSecret with it"),
        ({**SHARED, "clientSecret": "env:S"}, "clientId: wanted clientSecret with it"),
        ({**SHARED, "tenantId": "t"}, "tenantId: found no clientId"),
        ({**SHARED, "token": "dapi123"}, "token: wanted env:NAME or file:PATH"),
        ({**SHARED, "folder": "/dbfs/x"}, "folder: found '/dbfs/x', wanted a folder of a Unity Catalog volume"),
        ({**SHARED, "folder": "/Volumes/a/b"}, "wanted a folder of a Unity Catalog volume"),
        ({**SHARED, "folder": "/Volumes/a/b/c/../d"}, "wanted a folder of a Unity Catalog volume"),
        ({**SHARED, "address": "http://adb.example"}, "address: found 'http://adb.example', wanted"),
        ({**SHARED, "address": "https://me@adb.example"}, "address: found"),
        ({**SHARED, "address": "https://adb.example/?o=1"}, "address: found"),
    ],
)
def test_fields_that_do_not_go_together_are_told(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_compute(fields)
    assert said in str(caught.value)
    assert "dapi123" not in str(caught.value)


@pytest.mark.parametrize("address", ["https://adb-1.2.azuredatabricks.net", "https://h:8443/", "http://127.0.0.1:8080"])
def test_an_address_is_a_host_or_its_url(address: str) -> None:
    assert parse_compute({**SHARED, "address": address}).address == address
    with pytest.raises(ConfigError, match="address: found a URL, wanted a host name or IP address"):
        parse_compute({"type": "remote", "username": "me", "address": address})


@pytest.mark.parametrize(
    ("fields", "wanted"),
    [
        ({}, {}),
        ({"token": "env:MINE"}, {"auth_type": "pat", "token": "sesame"}),
        (
            {"clientId": CLIENT, "clientSecret": "env:MINE"},
            {"auth_type": "oauth-m2m", "client_id": CLIENT, "client_secret": "sesame"},
        ),
        (
            {"clientId": CLIENT, "clientSecret": "env:MINE", "tenantId": "t"},
            {
                "auth_type": "azure-client-secret",
                "azure_client_id": CLIENT,
                "azure_client_secret": "sesame",
                "azure_tenant_id": "t",
            },
        ),
    ],
)
def test_the_login_is_what_the_target_names(
    fields: dict[str, str], wanted: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from databricks.sdk.core import Config

    from loadcast.experiments.services.databricks_client import login

    monkeypatch.setenv("MINE", "sesame")
    target = parse_compute({**SHARED, **fields})
    assert login(target) == wanted
    assert {*wanted} <= {attribute.name for attribute in Config.attributes()}
    assert "MINE" not in repr(target)


def test_more_secrets_than_databricks_has_room_for_are_refused_before_anything_is_asked() -> None:
    from loadcast.experiments.services.databricks_client import Workspace

    jobs = Workspace(parse_compute(SHARED)).jobs
    with pytest.raises(ConfigError, match="found secrets of 195 KB, wanted at most 128 KB in all"):
        jobs.keep_secrets("run", {"KEY": "x" * 200_000})


@pytest.mark.parametrize(
    ("status", "state", "error"),
    [
        *(({"state": life}, "starting", None) for life in ("BLOCKED", "PENDING", "QUEUED", "WAITING")),
        *(({"state": life}, "running", None) for life in ("RUNNING", "TERMINATING", "NEW_ONE")),
        ({"state": "TERMINATED", "termination_details": {"code": "USER_CANCELED"}}, "cancelled", "USER_CANCELED"),
        (
            {"state": "TERMINATED", "termination_details": {"code": "CLUSTER_ERROR", "message": "No quota."}},
            "failed",
            "CLUSTER_ERROR: No quota.",
        ),
        ({"state": "TERMINATED", "termination_details": {"code": "SUCCESS"}}, "failed", "SUCCESS"),
        ({"state": "TERMINATED"}, "failed", "unknown"),
    ],
)
def test_states_of_the_reference_are_ours(status: dict[str, Any], state: str, error: str | None) -> None:
    from databricks.sdk.service.jobs import Run

    from loadcast.experiments.services.databricks_client import job_state

    said = job_state(Run.from_dict({"status": status, "start_time": 2000, "end_time": 5000}))
    assert (said["state"], said.get("error"), said["start"], said.get("code")) == (state, error, 2.0, None)
    assert ("end" in said) == (state in ("failed", "cancelled"))
