"""Managed services without any: the script that they run, plans, and addresses."""

from __future__ import annotations

import ast
import json
import sys
from pathlib import Path

import pytest
from azure.core.exceptions import ClientAuthenticationError, HttpResponseError, ServiceRequestError

from loadcast.errors import ConfigError, EnvironmentNotReadyError, LoadcastError
from loadcast.experiments.compute import parse_compute
from loadcast.experiments.conda import parse_conda
from loadcast.experiments.services import blob_bootstrap
from loadcast.experiments.services.amlcompute import AmlCompute, conda_file
from loadcast.experiments.services.azure_login import credential_of, told
from loadcast.experiments.services.azure_plan import azure_url
from loadcast.experiments.services.synapse import Synapse
from loadcast.experiments.target_types import Job
from loadcast.storage.blob.location import parse_blob_url

STORAGE = "abfss://runs@account.dfs.core.windows.net/some folder"
SYNAPSE = {"type": "synapse", "workspace": "w", "sparkPool": "pool", "storage": STORAGE, "keyVault": "vault"}
AML = {
    "type": "amlcompute",
    "subscriptionId": "11111111-2222-3333-4444-555555555555",
    "resourceGroup": "group",
    "workspace": "w",
    "computeName": "nodes",
    "storage": STORAGE,
    "baseDockerImage": "debian:13-slim",
}


def test_the_bootstrap_is_of_the_standard_library_alone_and_of_python_3_8() -> None:
    tree = ast.parse(Path(blob_bootstrap.__file__).read_text(encoding="utf-8"), feature_version=(3, 8))
    imported = {
        name.partition(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for name in ([node.module or ""] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names])
    }
    assert imported - sys.stdlib_module_names == {"notebookutils"}


def test_a_batch_has_sizes_and_settings_of_the_spark_file() -> None:
    settings = {"spark.executor.instances": "5", "spark.sql.shuffle.partitions": "64"}
    job = Job(("Code/etl.py", "a b"), {"PLAIN": "x"}, spark=settings, vault_secrets={"KEY": "storage-key"})
    request = Synapse().plan(parse_compute(SYNAPSE), job).request([("Code/etl.py", "0" * 64, False)])
    assert json.loads(json.dumps(request)) == request
    assert request["words"] == ["Code/etl.py", "a b"]
    assert request["service"]["sizes"]["spark.executor.instances"] == "5"
    assert request["service"]["conf"]["spark.sql.shuffle.partitions"] == "64"
    assert request["vault"] == {"name": "vault", "secrets": {"KEY": "storage-key"}}
    assert request["environment"] == {"PLAIN": "x"}


def test_a_command_job_tells_pyspark_the_settings() -> None:
    request = AmlCompute().plan(parse_compute(AML), Job(("a.py",), {}, spark={"spark.x": "1 2"})).request([])
    assert request["environment"] == {"PYSPARK_SUBMIT_ARGS": "--conf 'spark.x=1 2' pyspark-shell"}
    with pytest.raises(ConfigError, match=r"KEY: found keyvault:, and the compute target has no keyVault"):
        AmlCompute().plan(parse_compute(AML), Job(("a.py",), {}, vault_secrets={"KEY": "k"}))


def test_an_environment_is_named_by_packages_and_image() -> None:
    packages = parse_conda({"dependencies": ["python>=3.11,<3.13", "pip", "openjdk=17", {"pip": ["pyspark==4.1.0"]}]})
    file = {
        "channels": ["conda-forge"],
        "dependencies": ["python>=3.11,<3.13", "openjdk=17", "pip", {"pip": ["pyspark==4.1.0"]}],
    }
    assert conda_file(packages) == file
    assert conda_file(parse_conda({"dependencies": ["python=3.11"]}))["dependencies"] == ["python=3.11"]
    names = {
        AmlCompute().recipe(parse_compute({**AML, "baseDockerImage": image}), packages).name
        for image in ("debian:13-slim", "debian:12-slim")
    }
    assert len(names) == 2


def test_services_are_told_a_blob_as_they_name_it() -> None:
    location, _ = parse_blob_url(STORAGE)
    blob = location.join("job.py")
    assert azure_url(blob, "abfss", "dfs") == "abfss://runs@account.dfs.core.windows.net/some folder/job.py"
    assert azure_url(blob, "wasbs", "blob") == "wasbs://runs@account.blob.core.windows.net/some folder/job.py"


@pytest.mark.parametrize(
    ("fields", "credential"),
    [
        ({}, "DefaultAzureCredential"),
        ({"login": "managedIdentity"}, "ManagedIdentityCredential"),
        ({"login": "user"}, "ChainedTokenCredential"),
        (
            {
                "login": "servicePrincipal",
                "tenantId": "t",
                "clientId": AML["subscriptionId"],
                "clientSecret": "env:APP_SECRET",
            },
            "ClientSecretCredential",
        ),
    ],
)
def test_a_login_is_one_of_azures(fields: dict[str, str], credential: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("APP_SECRET", "hidden")
    target = parse_compute({**SYNAPSE, **fields})
    assert type(credential_of(target)).__name__ == credential
    assert credential_of(target) is credential_of(target)
    assert "hidden" not in repr(target)


@pytest.mark.parametrize(
    ("error", "kind", "said"),
    [
        (ClientAuthenticationError("AADSTS1: no\nmore"), ConfigError, r"the service: the login gives no token \(AADS"),
        (ServiceRequestError("no route"), EnvironmentNotReadyError, "the service cannot be reached: no route"),
        (HttpResponseError("bad"), ConfigError, "the service answered None: bad"),
    ],
)
def test_what_a_library_raises_is_told_in_one_line(error: Exception, kind: type[LoadcastError], said: str) -> None:
    with pytest.raises(kind, match=said) as caught, told("the service"):
        raise error
    assert "\n" not in str(caught.value)
    assert caught.value.__context__ is None
