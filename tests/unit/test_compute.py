"""Compute targets: every type with its fields, no secret, no hostile value, and files that are read as written."""

from __future__ import annotations

import base64
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from loadcast.errors import ConfigError
from loadcast.experiments.compute import (
    FIELDS,
    TYPES,
    ComputeTarget,
    parse_compute,
    read_compute,
    write_compute,
)

ROOT = Path(__file__).resolve().parents[2]


def host_key(kind: str = "ssh-ed25519", size: int = 40) -> str:
    blob = len(kind).to_bytes(4, "big") + kind.encode() + bytes(range(size))
    return f"{kind} {base64.b64encode(blob).decode()}"


#: A good value for each field but `type`.
GOOD: dict[str, Any] = {
    "address": "10.0.0.4",
    "username": "me",
    "password": "env:PASSWORD",
    "ssh_port": 2222,
    "private_key_file": "~/.ssh/id_ed25519",
    "hostKey": host_key(),
    "baseDockerImage": "registry.example:5000/team/spark:4.0@sha256:" + "0" * 64,
    "sharedVolumes": True,
    "nativeSharedDirectory": "/srv/share",
    "pythonLocation": "/opt/my env/bin/python",
    "sparkSubmitLocation": "/usr/bin/spark-submit",
    "yarnDeployMode": "client",
    "master": "spark://head:7077",
    "folder": "/Volumes/main/loadcast/files",
    "token": "env:TOKEN",
    "clusterId": "0922-112415-abcdefgh",
    "sparkVersion": "16.4.x-scala2.12",
    "nodeType": "Standard_D4ds_v5",
    "workers": 2,
    "subscriptionId": "11111111-2222-3333-4444-555555555555",
    "resourceGroup": "my-group",
    "workspace": "my-workspace",
    "sparkPool": "pool",
    "computeName": "nodes",
    "storage": "abfss://runs@account.dfs.core.windows.net/loadcast",
    "vmSize": "STANDARD_E4S_V3",
    "minNodes": 1,
    "maxNodes": 4,
    "vmPriority": "lowpriority",
    "idleSecondsBeforeScaledown": 600,
    "login": "servicePrincipal",
    "tenantId": "contoso.example",
    "clientId": "22222222-2222-3333-4444-555555555555",
    "clientSecret": "env:APP_SECRET",
    "keyVault": "my-vault",
    "keyVaultLinkedService": "vault-link",
}
#: What others of its type exclude.
NOT_WITH_OTHERS = ("private_key_file", "token", "clusterId")
#: What a type needs beside its required fields, one way or the other.
NEEDED_TOO = {"databricks": ("clusterId",)}


def fields_of(kind: str) -> dict[str, Any]:
    """All fields that a type may have at once."""
    required, optional = FIELDS[kind]
    return {"type": kind, **{name: GOOD[name] for name in (*required, *optional) if name not in NOT_WITH_OTHERS}}


def refused(fields: dict[str, Any]) -> str:
    with pytest.raises(ConfigError) as caught:
        parse_compute(fields, "Compute target x")
    message = str(caught.value)
    assert message.startswith("Compute target x")
    assert all(line.isprintable() for line in message.splitlines())
    return message


def test_each_field_is_of_some_type() -> None:
    names = {field.alias for field in ComputeTarget.model_fields.values()} - {"type"}
    assert names == GOOD.keys() == {name for each in FIELDS.values() for part in each for name in part}


@pytest.mark.parametrize("kind", TYPES)
def test_a_type_takes_all_its_fields(kind: str) -> None:
    assert parse_compute(fields_of(kind)).document() == fields_of(kind)


@pytest.mark.parametrize("kind", TYPES)
def test_a_type_needs_its_required_fields(kind: str) -> None:
    required, _ = FIELDS[kind]
    enough = (*required, *NEEDED_TOO.get(kind, ()))
    assert parse_compute({"type": kind, **{name: GOOD[name] for name in enough}}).type == kind
    for name in required:
        fields = {other: value for other, value in fields_of(kind).items() if other != name}
        assert f"{name}: found nothing, and type {kind} needs it" in refused(fields)


@pytest.mark.parametrize("kind", TYPES)
def test_a_type_has_no_other_fields(kind: str) -> None:
    for name in GOOD.keys() - {*FIELDS[kind].required, *FIELDS[kind].optional}:
        assert f"{name}: type {kind} has no such field" in refused(fields_of(kind) | {name: GOOD[name]})


def need(name: str, kind: str) -> str:
    """As the table of the page says it."""
    required, optional = FIELDS[kind]
    return "needed" if name in required else "may" if name in optional else "–"


def test_the_page_has_the_table_of_fields() -> None:
    page = (ROOT / "Docs" / "EXPERIMENTS.md").read_text(encoding="utf-8")
    table = page[page.index(f"| field | {' | '.join(TYPES)} |") :].split("\n\n")[0].splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table[2:]]
    assert rows == [[f"`{name}`", *(need(name, kind) for kind in TYPES)] for name in GOOD]


def test_the_targets_of_the_page_are_read() -> None:
    page = (ROOT / "Docs" / "EXPERIMENTS.md").read_text(encoding="utf-8")
    texts = re.findall(r"```yaml\n(type:.*?)```", page, re.DOTALL)
    assert texts
    for text in texts:
        parse_compute(yaml.safe_load(text))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"storage": "https://account.blob.core.windows.net/runs?sig=x"}, "storage: wanted .* without a SAS"),
        ({"storage": "/srv/runs"}, "storage: wanted the URL of a container"),
        ({"clientSecret": "hunter2"}, "clientSecret: wanted env:NAME or file:PATH"),
        ({"clientSecret": None}, "clientSecret: found nothing, and login servicePrincipal needs it"),
        ({"login": "user"}, "clientSecret: login servicePrincipal alone has one"),
        ({"minNodes": 5}, "minNodes: found 5, wanted no more than maxNodes, which is 4"),
        ({"workspace": "http://workspace.example"}, "wanted the workspace's name, or its https URL"),
    ],
)
def test_a_login_and_a_container_are_whole_and_without_secrets(change: dict[str, Any], said: str) -> None:
    message = refused(fields_of("amlcompute") | change)
    assert re.search(said, message)
    assert "hunter2" not in message


def test_a_field_with_nothing_after_it_is_as_if_not_there() -> None:
    assert parse_compute({"type": "local", "address": None, "pythonLocation": None}) == parse_compute({"type": "local"})


def test_what_is_not_written_has_a_default() -> None:
    target = parse_compute({"type": "cluster", "address": "head", "username": "me"})
    assert (target.ssh_port, target.yarn_deploy_mode, target.is_remote) == (22, "cluster", True)
    assert parse_compute({"type": "local"}).is_remote is False


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("adla", "retired in February 2024, wanted synapse or cluster instead"),
        ("remotedoker", "the nearest known type is remotedocker"),
        ("LocalDocker", "the nearest known type is localdocker"),
        ("virtualmachine", "known types: local, localdocker, remotedocker, remote, cluster, spark"),
        ("", "known types: local"),
        (None, "type: found nothing, wanted one of local"),
        (5, "type: found 5, wanted 'local'"),
        (["local"], r"type: found \['local'\]"),
    ],
)
def test_another_type_is_an_error_that_says_what_to_use(kind: object, said: str) -> None:
    message = refused({"type": kind, "fields_of_that_type": 1} if isinstance(kind, str) else {"type": kind})
    assert re.search(said, message)
    assert len(message.splitlines()) == 1


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("adress", "the nearest known field is address"),
        ("Username", "the nearest known field is username"),
        ("sshPort", "the nearest known field is ssh_port"),
        ("ssh-port", "the nearest known field is ssh_port"),
        ("base_docker_image", "the nearest known field is baseDockerImage"),
        ("yarndeploymode", "the nearest known field is yarnDeployMode"),
        ("zzz", "known fields: type, address, username"),
        ("userManagedEnvironment", "with pythonLocation the environment is yours"),
        ("nvidiaDocker", "nothing in loadcast uses a graphics card"),
        ("x\x1b[31m\n", "known fields: type, address"),
    ],
)
def test_an_unknown_field_is_an_error_that_names_the_nearest(name: str, said: str) -> None:
    assert said in refused({"type": "local", name: 1})


@pytest.mark.parametrize(
    "value", ["hunter22", "env:", "env:1X", "ENV:X", "file:", "env:A B", "", "AQID+base64==", 12345678, ["hunter22"]]
)
def test_a_password_is_a_reference_and_else_not_shown(value: object) -> None:
    message = refused(fields_of("remote") | {"password": value})
    assert "password: wanted" in message
    assert not str(value) or len(str(value)) < 6 or str(value) not in message


def test_neither_secret_nor_key_file_is_in_the_repr() -> None:
    target = parse_compute(fields_of("remote") | {"password": "file:/etc/secret"})
    assert "secret" not in repr(target)


def test_a_key_in_place_of_its_file_is_refused_and_not_shown() -> None:
    fields = {"type": "remote", "address": "h", "username": "u"}
    message = refused(fields | {"private_key_file": "-----BEGIN OPENSSH PRIVATE KEY-----\nhunter22"})
    assert "hunter22" not in message


def test_password_and_key_exclude_each_other() -> None:
    assert "wanted one of them" in refused(fields_of("remote") | {"private_key_file": "~/.ssh/id"})


def test_a_shared_folder_of_containers_needs_volumes() -> None:
    assert "wanted true: it is mounted as a volume" in refused(fields_of("localdocker") | {"sharedVolumes": False})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("address", value) for value in ("h", "my-host_1.example.com", "10.0.0.4", "::1", "fe80::1%eth0", 5)),
        *(("username", value) for value in ("me", "_x", "me@example.com", "a.b-c", 1000)),
        *(("baseDockerImage", value) for value in ("debian:13-slim", "a/b", "localhost/x", "r.example/a/b__c:V1.0")),
        *(("nativeSharedDirectory", value) for value in ("/a b", "~/share", "/x;y")),
        *(("pythonLocation", value) for value in ("python3", "/opt/$(x)/python", "C d/python", "/ä/python")),
        *(("hostKey", host_key(kind)) for kind in ("ssh-ed25519", "ssh-rsa", "ecdsa-sha2-nistp256")),
        *(("master", value) for value in ("yarn", "local[*]", "local[4,2]", "k8s://https://h:6443", "spark://a:1,b:2")),
        *(("ssh_port", value) for value in (1, 22, 65535)),
    ],
)
def test_a_good_value_is_taken(name: str, value: object) -> None:
    kind = next(kind for kind in TYPES if name in (*FIELDS[kind].required, *FIELDS[kind].optional))
    assert parse_compute(fields_of(kind) | {name: value}).document()[name] in (value, str(value))


HOSTILE = [
    "-oProxyCommand=x",
    "a b",
    "a;b",
    "$(x)",
    "`x`",
    "a\nb",
    "a\x00b",
    "a\x1b[31m",
    "a'b",
    'a"b',
    "a|b",
    "a&b",
    "",
]


@pytest.mark.parametrize("value", HOSTILE)
@pytest.mark.parametrize("name", ["address", "username", "baseDockerImage", "hostKey", "master"])
def test_a_hostile_value_is_refused(name: str, value: str) -> None:
    kind = next(kind for kind in TYPES if name in (*FIELDS[kind].required, *FIELDS[kind].optional))
    assert f"{name}: found " in refused(fields_of(kind) | {name: value})


@pytest.mark.parametrize("value", ["-c", "a\nb", "a\x00b", "a\x1b[31m", "a\x7f", "", "x" * 4097])
@pytest.mark.parametrize("name", ["pythonLocation", "nativeSharedDirectory", "sparkSubmitLocation", "private_key_file"])
def test_a_path_is_no_option_and_drives_no_terminal(name: str, value: str) -> None:
    kind = next(kind for kind in TYPES if name in FIELDS[kind].optional)
    assert f"{name}: " in refused(fields_of(kind) | {name: value})


@pytest.mark.parametrize(
    "value", ["https://me:hunter22@a.example/python", "/x?sv=1&sig=hunter22", "/x;AccountKey=hunter22"]
)
def test_a_secret_in_a_path_is_refused_and_not_shown(value: str) -> None:
    message = refused({"type": "local", "pythonLocation": value})
    assert "wanted no signature, key or password in it" in message
    assert "hunter22" not in message


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("address", "[::1]"),
        ("address", "host:22"),
        ("address", "me@host"),
        ("address", "h" * 254),
        ("address", "host-"),
        ("address", "fe80::1%$(x)"),
        ("address", ["h"]),
        ("address", True),
        ("baseDockerImage", "Debian:13"),
        ("baseDockerImage", "a-" * 256),
        ("baseDockerImage", "a//b"),
        ("ssh_port", 0),
        ("ssh_port", 65536),
        ("ssh_port", "22"),
        ("ssh_port", True),
        ("sharedVolumes", "yes"),
        ("sharedVolumes", 1),
        ("nativeSharedDirectory", "share"),
        ("yarnDeployMode", "Cluster"),
        ("master", "spark://me:pw@head:7077"),
        ("master", "http://head"),
        ("hostKey", "ssh-ed25519 AAAA"),
        ("hostKey", "ssh-ed25519 " + host_key("ssh-rsa").split()[1]),
        ("hostKey", "head " + host_key()),
        ("hostKey", host_key() + "\n" + host_key()),
        ("hostKey", host_key("ssh-dss")),
        ("hostKey", "ssh-ed25519 !!!!"),
    ],
)
def test_a_value_outside_a_fields_grammar_is_refused(name: str, value: object) -> None:
    kind = next(kind for kind in TYPES if name in (*FIELDS[kind].required, *FIELDS[kind].optional))
    assert f"{name}: found " in refused(fields_of(kind) | {name: value})


def test_many_faults_are_a_line_each() -> None:
    lines = refused({"type": "remote", "address": "a b", "username": "-x", "zzz": 1}).splitlines()
    assert lines[0] == "Compute target x cannot be used:"
    assert [line.split(":")[0] for line in lines[1:]] == ["  address", "  username", "  zzz"]
    assert "and 80 more" in refused({"type": "local", **{f"x{n}": 1 for n in range(100)}})


def test_a_target_cannot_be_changed() -> None:
    target = parse_compute({"type": "local"})
    with pytest.raises(ValidationError):
        target.type = "remote"  # type: ignore[misc]


_PATHS = st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]), min_size=1, max_size=20).map("/{}".format)
_STRATEGIES: dict[str, st.SearchStrategy[Any]] = {
    "address": st.from_regex(r"[A-Za-z0-9][A-Za-z0-9.-]{0,20}[A-Za-z0-9]", fullmatch=True),
    "username": st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.@+-]{0,20}", fullmatch=True),
    "password": st.from_regex(r"env:[A-Za-z_][A-Za-z0-9_]{0,10}", fullmatch=True) | _PATHS.map("file:{}".format),
    "ssh_port": st.integers(1, 65535),
    "hostKey": st.sampled_from([host_key(), host_key("ssh-rsa", 200)]),
    "baseDockerImage": st.from_regex(r"[a-z0-9]{1,9}(/[a-z0-9]{1,9})?(:[A-Za-z0-9_][a-z0-9_.]{0,8})?", fullmatch=True),
    "sharedVolumes": st.just(True),
    "nativeSharedDirectory": _PATHS,
    "pythonLocation": _PATHS,
    "sparkSubmitLocation": _PATHS,
    "yarnDeployMode": st.sampled_from(["client", "cluster"]),
    "master": st.sampled_from(["yarn", "local[2]", "spark://h:7077", "k8s://https://h"]),
}
#: What a type has always, where it may not have it without.
_ALWAYS = {"databricks": ("clientId", "clientSecret", "sparkVersion", "nodeType")}
#: What a managed service needs together: a login is whole, and of nodes there are not more at least than at most.
_TOGETHER = ("login", "tenantId", "clientId", "clientSecret", "minNodes", "maxNodes")


@st.composite
def targets(draw: st.DrawFn) -> ComputeTarget:
    kind = draw(st.sampled_from(TYPES))
    required, optional = FIELDS[kind]
    given_names = {*required, *draw(st.lists(st.sampled_from(optional), unique=True)), *_ALWAYS.get(kind, ())}
    if given_names & {*_TOGETHER}:
        given_names |= {name for name in _TOGETHER if name in optional}
    fields = {
        name: draw(_STRATEGIES.get(name, st.just(GOOD[name]))) for name in sorted(given_names - {*NOT_WITH_OTHERS})
    }
    return parse_compute({"type": kind, **fields})


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("project")


@given(target=targets())
def test_a_target_is_read_as_it_was_written(project: Path, target: ComputeTarget) -> None:
    write_compute(project, "any", target)
    assert read_compute(project, "any") == target


@pytest.mark.parametrize("name", ["", "..", "../x", "/etc/x", "a/b", "-x", ".x", "a b", "a\n", "a\x00", "ä", "x" * 65])
def test_a_name_is_no_path(tmp_path: Path, name: str) -> None:
    target = parse_compute({"type": "local"})
    for call in (lambda: read_compute(tmp_path, name), lambda: write_compute(tmp_path, name, target)):
        with pytest.raises(ConfigError, match="wanted a name of up to 64 letters"):
            call()
    assert list(tmp_path.iterdir()) == []
