"""Scripts submitted to managed services of Azure: the services' own libraries, and jobs that run, on this machine.

What is not real are Entra ID and the services' front ends (support/azure_services.py names the references that they
answer as). Containers are Azurite's, which takes tokens.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from azure_services import CLIENT, TENANT, AzureServices, running_services
from azurite import running_azurite
from loadcast.errors import ConfigError, EnvironmentNotReadyError
from loadcast.experiments.locations import run_folder
from loadcast.experiments.records import RunRecord, list_records
from loadcast.experiments.services.blob_store import BlobStore
from loadcast.experiments.submission import Submission, cancel, follow, hand_over, prepare, refresh, runner_of, submit
from tls import make_certificate

pytestmark = pytest.mark.integration

SCRIPT = """
import json, os, sys, time
print(json.dumps([sys.argv[1:], os.environ["PLAIN"], os.environ.get("SECRET"), os.environ["LOADCAST_RUN_ID"]]))
print("on standard error", file=sys.stderr)
line = {"time": 1.0, "kind": "metric", "name": "score", "value": [0.5]}
print(json.dumps(line), file=open(os.environ["LOADCAST_RUN_LOG"], "a"))
open("outputs/it's a $(result)\\\\", "w").write("kept")
open("logs/own", "w").write("kept as well")
while not os.path.exists(os.environ["GATE"]):
    time.sleep(0.02)
print("the end")
sys.exit(int(sys.argv[1]))
"""
ENDLESS = """
import os, subprocess, sys, time
child = subprocess.Popen(["sleep", "1000"])
print(os.getpid(), child.pid)
time.sleep(1000)
"""
CONFIG = """
Target: managed
Framework: Python
PrepareEnvironment: false
EnvironmentVariables: {PLAIN: "a b$(id)", SECRET: "keyvault:my-secret", GATE: "%s"}
"""
HOSTILE = ("two words", "$(id)", "'\"", "ü\n;", "--x", "")


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AzureServices]:
    folder = tmp_path_factory.mktemp("services")
    certificate = make_certificate(folder)
    options = ("--oauth", "basic", "--cert", str(certificate), "--key", str(certificate))
    with (
        running_azurite(folder / "log", 0, *options) as azurite,
        running_services(azurite, certificate, folder) as all_,
    ):
        yield all_


@pytest.fixture
def azure(services: AzureServices, monkeypatch: pytest.MonkeyPatch) -> Iterator[AzureServices]:
    for name, value in services.environment().items():
        monkeypatch.setenv(name, value)
    services.secrets["myvault", "my-secret", "linked"] = services.secrets["", "my-secret", None] = "sesame"
    services.holding = False
    yield services
    services.end()


@pytest.fixture(params=["synapse", "amlcompute"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def project(tmp_path: Path, azure: AzureServices, kind: str) -> Path:
    folder = tmp_path / "a project"
    (folder / "Code").mkdir(parents=True)
    (folder / "aml_config").mkdir()
    (folder / "Code" / "script.py").write_text(SCRIPT)
    (folder / "Code" / "endless.py").write_text(ENDLESS)
    (folder / "aml_config" / "managed.runconfig").write_text(CONFIG % (tmp_path / "gate"))
    target = {**fields_of(kind, azure), "login": "servicePrincipal", "tenantId": TENANT}
    write_target(folder, {**target, "clientId": CLIENT, "clientSecret": "env:APP_SECRET"})
    subprocess.run(["git", "init", "-q", str(folder)], check=True)
    return folder


def fields_of(kind: str, azure: AzureServices) -> dict[str, str]:
    storage = f"{azure.azurite.endpoint}/{azure.azurite.new_container()}/runs of all"
    if kind == "synapse":
        vault = {"keyVault": "myvault", "keyVaultLinkedService": "linked"}
        return {"type": kind, "workspace": azure.address, "sparkPool": "pool", "storage": storage, **vault}
    names = {"subscriptionId": CLIENT, "resourceGroup": "group", "workspace": "workspace", "computeName": "nodes"}
    more = {"baseDockerImage": "debian:13-slim", "keyVault": azure.address, "vmPriority": "lowpriority"}
    return {"type": kind, **names, "storage": storage, **more}


def write_target(project: Path, fields: dict[str, str]) -> None:
    text = "".join(f"{name}: {json.dumps(value)}\n" for name, value in fields.items())
    (project / "aml_config" / "managed.compute").write_text(text)


def command(project: Path, *words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "loadcast", "experiment", *words],
        cwd=project,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def said(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    output, errors = process.communicate(timeout=60)
    return process.returncode, output, errors


def only_run(project: Path) -> RunRecord:
    (record,) = list_records(project).records
    return record


def until(happened: Callable[[], Any]) -> Any:
    end = time.monotonic() + 30
    while not (result := happened()) and time.monotonic() < end:
        time.sleep(0.05)
    assert result
    return result


def is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_run_is_streamed_found_again_after_a_kill_and_brought_back(project: Path, azure: AzureServices) -> None:
    client = command(project, "submit", "-c", "managed", "Code/script.py", "3", *HOSTILE)
    assert client.stdout is not None
    first = client.stdout.readline()  # while the script waits
    client.kill()
    said(client)
    record = only_run(project)
    assert json.loads(first) == [["3", *HOSTILE], "a b$(id)", "sesame", record.id]
    again = command(project, "logs", "--follow", record.id)
    (project.parent / "gate").touch()
    code, log, errors = said(again)
    assert (code, log) == (3, f"{first}on standard error\nthe end\n"), errors
    record = only_run(project)
    assert (record.state, record.exit_code) == ("failed", 3)
    folder = run_folder(project, record.id)
    assert (folder / "outputs" / "it's a $(result)\\").read_text() == "kept"
    assert (folder / "logs" / "own").read_text() == "kept as well"
    assert '"score"' in (folder / "logged.jsonl").read_text()
    told = [path.read_bytes() for path in project.rglob("*") if path.is_file() and path.name != "log.txt"]
    container = str(runner_of(project, "managed").store.location.container)  # type: ignore[attr-defined]
    kept = [azure.azurite.content(container, name) for name in azure.azurite.names(container) if "/log/" not in name]
    assert not [content for content in [*told, *kept, json.dumps(azure.requests).encode()] if b"sesame" in content]
    assert runner_of(project, "managed").send(project, []) == 0


def test_a_run_is_begun_once_whatever_becomes_of_its_clients(
    project: Path, azure: AzureServices, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Died(BaseException):
        pass

    def dying(*_: Any) -> None:
        raise Died

    azure.holding, before = True, len(azure.jobs)
    (project.parent / "gate").touch()
    with monkeypatch.context() as patched:
        patched.setattr(BlobStore, "put_job", dying)
        with pytest.raises(Died):
            submit(project, Submission("managed", "Code/script.py", ("0",)))
    record = hand_over(project, hand_over(project, only_run(project)))
    assert (record.state, len(azure.jobs)) == ("queued", before + 1)
    azure.failures = 1
    azure.release()
    blocks: list[bytes] = []
    ended = follow(project, record, blocks.append)
    assert (ended.state, ended.exit_code) == ("completed", 0)
    assert b"".join(blocks).endswith(b"the end\n")
    assert refresh(project, [ended]) == [ended]


def test_cancelling_ends_all_of_it(project: Path, azure: AzureServices) -> None:
    record = submit(project, Submission("managed", "Code/endless.py"))
    runner = runner_of(project, "managed")
    processes = [int(word) for word in until(lambda: b"".join(runner.log_so_far(record.id))).split()]
    assert all(map(is_alive, processes))
    cancelled = cancel(project, record)
    assert cancelled.state == "cancelled"
    assert not any(map(is_alive, processes))
    assert (run_folder(project, record.id) / "log.txt").read_text().split() == [str(number) for number in processes]


def test_a_cancelled_run_that_was_queued_never_begins(project: Path, azure: AzureServices) -> None:
    azure.holding = True
    record = submit(project, Submission("managed", "Code/endless.py"))
    assert cancel(project, record).state == "cancelled"
    azure.release()
    assert azure.jobs[-1].process is None
    late = azure.jobs[-1].begin()  # as if the service had begun it all the same
    assert late.wait(30) != 0
    assert [*runner_of(project, "managed").log_so_far(record.id)] == []


def test_a_job_that_dies_without_a_word_is_told(project: Path, azure: AzureServices) -> None:
    record = submit(project, Submission("managed", "Code/endless.py"))
    runner = runner_of(project, "managed")
    first, *_ = until(lambda: b"".join(runner.log_so_far(record.id))).split()
    process = azure.jobs[-1].process
    assert process is not None
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    (ended,) = refresh(project, [record])
    assert (ended.state, ended.exit_code) == ("failed", None)
    assert ended.note is not None
    assert re.search("batch [0-9]+ ended as dead: exit code 1|job loadcast-.* ended as Failed", ended.note)
    until(lambda: not is_alive(int(first)))


OF_SYNAPSE = pytest.mark.parametrize("kind", ["synapse"], indirect=True)
OF_AML = pytest.mark.parametrize("kind", ["amlcompute"], indirect=True)


@OF_SYNAPSE
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sparkPool": "none"}, "Spark pool none of 127.0.0.1 answered 404: .*no Spark pool none"),
        ({"clientSecret": "env:PATH"}, "the login gives no token .*AADSTS7000215"),
        ({"clientSecret": "env:NO_SUCH"}, "clientSecret env:NO_SUCH: the environment has no such variable"),
    ],
)
def test_what_a_service_refuses_is_told_in_one_line(project: Path, change: dict[str, str], message: str) -> None:
    change_lines(project / "aml_config" / "managed.compute", change)
    with pytest.raises((ConfigError, EnvironmentNotReadyError), match=message) as caught:
        submit(project, Submission("managed", "Code/script.py", ("0",)))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("value", ["env:PATH", "file:secret"])
def test_a_secret_that_a_job_would_have_to_be_handed_is_refused(project: Path, value: str) -> None:
    config = project / "aml_config" / "managed.runconfig"
    config.write_text(config.read_text().replace("keyvault:my-secret", value))
    with pytest.raises(ConfigError, match="SECRET: found env: or file:, wanted keyvault:SECRET"):
        submit(project, Submission("managed", "Code/script.py", ("0",)))
    assert list_records(project).records == ()


@OF_SYNAPSE
def test_a_pool_has_its_environment_already(project: Path) -> None:
    change_lines(project / "aml_config" / "managed.runconfig", {"PrepareEnvironment": "true"})
    (project / "aml_config" / "conda_dependencies.yml").write_text("dependencies: [python=3.11]\n")
    with pytest.raises(ConfigError, match="on synapse the environment is the pool's"):
        prepare(project, "managed", lambda _: None)


@OF_AML
def test_a_cluster_and_an_environment_are_made_once(project: Path, azure: AzureServices) -> None:
    azure.resources.clear()
    change_lines(project / "aml_config" / "managed.runconfig", {"PrepareEnvironment": "true"})
    packages = {"channels": ["conda-forge"], "dependencies": ["python=3.11", "openjdk=17", {"pip": ["pyspark==4.1.0"]}]}
    (project / "aml_config" / "conda_dependencies.yml").write_text(json.dumps(packages))
    assert prepare(project, "managed", lambda _: None)
    assert not prepare(project, "managed", lambda _: None)
    (nodes,) = (item["asked"]["properties"] for path, item in azure.resources.items() if "/computes/" in path)
    scale = {"minNodeCount": 0, "maxNodeCount": 1, "nodeIdleTimeBeforeScaleDown": "PT30M"}
    assert nodes["properties"]["scaleSettings"] == scale
    assert (nodes["properties"]["vmPriority"], nodes["properties"]["vmSize"]) == ("LowPriority", "STANDARD_DS3_V2")
    (made,) = (item["asked"]["properties"] for path, item in azure.resources.items() if "/environments/" in path)
    assert made["image"] == "debian:13-slim"
    assert "openjdk=17" in made["condaFile"]
    assert runner_of(project, "managed").facts()["nodes"] == "0 to 1 of STANDARD_DS3_V2, low_priority"


def test_attaching_reaches_the_service_and_shows_what_it_has(project: Path, azure: AzureServices, kind: str) -> None:
    login = ["--login", "servicePrincipal", "--tenant-id", TENANT, "--client-id", CLIENT]
    words = [*login, "--client-secret", "env:APP_SECRET"]
    for name, value in fields_of(kind, azure).items():
        if name != "type":
            words += ["--" + re.sub("[A-Z]", lambda match: f"-{match[0].lower()}", name), value]
    attach = [sys.executable, "-m", "loadcast", "computetarget", "attach", kind, "--name", "new", *words]
    done = subprocess.run(attach, cwd=project, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert "workspace" in done.stdout
    prepared = "true" if kind == "amlcompute" else "false"
    assert f"PrepareEnvironment: {prepared}" in (project / "aml_config" / "new.runconfig").read_text()


def change_lines(file: Path, change: dict[str, str]) -> None:
    lines = [line for line in file.read_text().splitlines() if line.partition(":")[0] not in change]
    file.write_text("\n".join([*lines, *(f"{name}: {value}" for name, value in change.items())]))
