"""Compute targets: `aml_config/NAME.compute`, which says where scripts can run, with the public sample's fields.

No secret stands in such a file: a password is a reference, `env:NAME` or `file:PATH`.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, get_args

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic.alias_generators import to_camel

from loadcast.errors import ConfigError
from loadcast.experiments.fields import CONFIG, FOLDER, PathText, Text, checked_name, matching, nearest, validated
from loadcast.experiments.yaml_files import read_mapping, write_mapping
from loadcast.secrets import is_reference, shown
from loadcast.storage.blob.location import parse_blob_url

SUFFIX = ".compute"
#: Has conda, so that the conda file brings Python and Java; what `attach` writes unless told otherwise.
DEFAULT_IMAGE = "condaforge/miniforge3:25.3.1-0"
#: Its counterpart on Azure Machine Learning, whose own images have conda, too.
DEFAULT_AML_IMAGE = "mcr.microsoft.com/azureml/openmpi4.1.0-ubuntu22.04"
_KIND, _EXAMPLE = "Compute target", "aml_config/local.compute"

TargetType = Literal[
    "local", "localdocker", "remotedocker", "remote", "cluster", "spark", "databricks", "synapse", "amlcompute"
]
TYPES: tuple[str, ...] = get_args(TargetType)
#: Types whose runs are handed to a managed service.
SERVICES = ("databricks", "synapse", "amlcompute")
_RETIRED = {"adla": "found adla, a service that was retired in February 2024, wanted synapse or cluster instead"}


class _Fields(NamedTuple):
    """The fields of one type of target, beside `type`."""

    required: tuple[str, ...]
    optional: tuple[str, ...]


_LOGIN = ("address", "username")
_LOGIN_BY = ("password", "private_key_file", "ssh_port", "hostKey")
_DOCKER = ("sharedVolumes", "nativeSharedDirectory", "pythonLocation")
_HOST = ("nativeSharedDirectory", "pythonLocation")
_PRINCIPAL = ("tenantId", "clientId", "clientSecret")
#: What a cluster of Databricks is made of for each run, in place of one that is there.
NEW_CLUSTER = ("sparkVersion", "nodeType", "workers")
_AZURE_LOGIN = ("login", *_PRINCIPAL, "keyVault")
_NODES = ("vmSize", "minNodes", "maxNodes", "vmPriority", "idleSecondsBeforeScaledown")
FIELDS: dict[str, _Fields] = {
    "local": _Fields((), _HOST),
    "localdocker": _Fields(("baseDockerImage",), _DOCKER),
    "remotedocker": _Fields((*_LOGIN, "baseDockerImage"), (*_LOGIN_BY, *_DOCKER)),
    "remote": _Fields(_LOGIN, (*_LOGIN_BY, *_HOST)),
    "cluster": _Fields(_LOGIN, (*_LOGIN_BY, "pythonLocation", "sparkSubmitLocation", "yarnDeployMode")),
    "spark": _Fields(("master",), ("pythonLocation", "sparkSubmitLocation")),
    "databricks": _Fields(("address", "folder"), ("token", *_PRINCIPAL, "clusterId", *NEW_CLUSTER)),
    "synapse": _Fields(("workspace", "sparkPool", "storage"), (*_AZURE_LOGIN, "keyVaultLinkedService")),
    "amlcompute": _Fields(
        ("subscriptionId", "resourceGroup", "workspace", "computeName", "storage", "baseDockerImage"),
        (*_AZURE_LOGIN, *_NODES, "pythonLocation"),
    ),
}
#: Fields of the retired workbench that need not be written here.
_EXPLAINED = {
    "userManagedEnvironment": "not a field here; with pythonLocation the environment is yours, without it is made",
    "nvidiaDocker": "not a field here; nothing in loadcast uses a graphics card",
}


def _built(kind: object) -> object:
    """The type. Raises ValueError, with the reason, for one that cannot be used."""
    if kind is None:
        raise ValueError(f"found nothing, wanted one of {', '.join(TYPES)}")
    if not isinstance(kind, str) or kind in TYPES:
        return kind
    if kind in _RETIRED:
        raise ValueError(_RETIRED[kind])
    raise ValueError(f"found {shown(repr(kind), 100)}, wanted {', '.join(TYPES)}; {nearest(kind, list(TYPES), 'type')}")


def _reference(value: str) -> str:
    if not is_reference(value):
        raise ValueError("wanted env:NAME or file:PATH, which say where the secret is, never the secret itself")
    return value


_Reference = Annotated[str, AfterValidator(_reference)]


def _storage(value: str) -> str:
    """The URL of a container, or of a folder in one. Raises ValueError for another, and for one with a SAS."""
    try:
        _, sas = parse_blob_url(value)
    except ConfigError as error:
        raise ValueError(f"wanted the URL of a container: {str(error).rstrip('.')}") from None
    if sas:
        raise ValueError("wanted the URL of a container without a SAS: the login enters it")
    return value


def _host_key(value: str) -> str:
    """The key in the form of known_hosts: its type, and base64 that begins with the same type."""
    kind, _, text = value.partition(" ")
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        data = b""
    name = kind.encode("utf-8")
    if not data.startswith(len(name).to_bytes(4, "big") + name) or len(data) <= 4 + len(name):
        raise ValueError("wanted the host's public key as in known_hosts, such as: ssh-ed25519 AAAA…")
    return value


_IPV6 = r"[0-9A-Fa-f:]*:[0-9A-Fa-f:.]*(?:%[A-Za-z0-9._-]+)?"
_NAME_PART = r"[a-z0-9]+(?:(?:\.|__?|-+)[a-z0-9]+)*"
_REGISTRY = r"[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?(?::[0-9]{1,5})?/"
_TAG = r"(?::[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?(?:@sha256:[0-9a-f]{64})?"

_HOST_NAME = r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]*[A-Za-z0-9_])?"
_PORT = r"(?::[0-9]{1,5})?"
#: A token goes there: without TLS only to this machine.
_URL = rf"https://{_HOST_NAME}{_PORT}/?|http://(?:localhost|127\.0\.0\.1){_PORT}/?"
_Address = Annotated[
    Text,
    Field(max_length=253),
    matching(rf"{_HOST_NAME}|{_IPV6}|{_URL}", "a host name or IP address, or for a service its https:// URL"),
]
_Id = Annotated[
    Text,
    matching(
        r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,98}[A-Za-z0-9])?", "an id or name of letters, digits, and the signs . _ -"
    ),
]
_Volume = Annotated[
    PathText,
    matching(
        r"/Volumes(?:/(?!\.\.?(?:/|$))[^/\s]+){3,}",
        "a folder of a Unity Catalog volume, /Volumes/CATALOG/SCHEMA/VOLUME or below, without spaces",
    ),
]
_Username = Annotated[
    Text,
    matching(r"[A-Za-z0-9_][A-Za-z0-9_.@+-]{0,127}", "a user name: letters, digits, and the signs . _ @ + -"),
]
_Image = Annotated[
    Text,
    Field(max_length=512),
    matching(rf"(?:{_REGISTRY})?{_NAME_PART}(?:/{_NAME_PART})*{_TAG}", "the name of an image, such as debian:13-slim"),
]
_Folder = Annotated[
    PathText,
    matching(r"[/~].*", "an absolute path, or one below ~"),
]
_HostKey = Annotated[
    str,
    matching(r"(?:ssh-ed25519|ssh-rsa|ecdsa-sha2-nistp[0-9]{3}) [A-Za-z0-9+/=]{1,8192}", "a key as in known_hosts"),
    AfterValidator(_host_key),
]
_Master = Annotated[
    Text,
    Field(max_length=1000),
    matching(
        r"(?:spark|k8s)://[A-Za-z0-9._:/,\[\]-]+|yarn|local(?:-cluster)?(?:\[[0-9*, ]+\])?",
        "the URL of a Spark master, such as spark://host:7077 or k8s://https://host:6443, without user and password",
    ),
]


def _alias(name: str) -> str:
    """As the public sample spells it."""
    return name if name in ("ssh_port", "private_key_file") else to_camel(name)


_ServiceUrl = r"https://[A-Za-z0-9.-]+(?::[0-9]{1,5})?"
_Workspace = Annotated[
    Text, matching(rf"[A-Za-z0-9][A-Za-z0-9_-]{{0,62}}|{_ServiceUrl}", "the workspace's name, or its https URL")
]
_Vault = Annotated[
    Text, matching(rf"[A-Za-z][A-Za-z0-9-]{{1,22}}[A-Za-z0-9]|{_ServiceUrl}", "a Key Vault's name, or its https URL")
]
_Name = Annotated[Text, matching(r"[A-Za-z0-9][A-Za-z0-9_.() -]{0,259}", "a name: letters, digits, and . _ -")]
_Guid = Annotated[Text, matching(r"[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}", "an id of 36 signs")]
_Storage = Annotated[Text, Field(max_length=1000), AfterValidator(_storage)]
_Login = Literal["default", "servicePrincipal", "user", "managedIdentity"]


class ComputeTarget(BaseModel):
    """Where scripts can run. FIELDS says which fields each type has to have, and which it may have.

    Paths count on the target, but for private_key_file. With `python_location` (an interpreter) the environment is the
    user's; without, it is made from the conda file. `password`, `token` and `client_secret` are references, `host_key`
    a line as in known_hosts without the host's name. Made of a file's fields by `parse_compute`.
    """

    model_config = ConfigDict(**CONFIG, alias_generator=_alias)

    type: Annotated[TargetType, BeforeValidator(_built)]
    address: _Address | None = None
    username: _Username | None = None
    password: _Reference | None = Field(None, repr=False)
    ssh_port: int = Field(22, ge=1, le=65535)
    private_key_file: PathText | None = Field(None, repr=False)
    host_key: _HostKey | None = None
    base_docker_image: _Image | None = None
    shared_volumes: bool = True
    native_shared_directory: _Folder | None = None
    python_location: PathText | None = None
    spark_submit_location: PathText | None = None
    yarn_deploy_mode: Literal["client", "cluster"] = "cluster"
    master: _Master | None = None
    folder: _Volume | None = None
    token: _Reference | None = Field(None, repr=False)
    cluster_id: _Id | None = None
    spark_version: _Id | None = None
    node_type: _Id | None = None
    workers: int = Field(1, ge=0, le=10_000)
    subscription_id: _Guid | None = None
    resource_group: _Name | None = None
    workspace: _Workspace | None = None
    spark_pool: _Name | None = None
    compute_name: _Name | None = None
    storage: _Storage | None = Field(None, repr=False)
    vm_size: _Name = "STANDARD_DS3_V2"
    min_nodes: int = Field(0, ge=0, le=10_000)
    max_nodes: int = Field(1, ge=1, le=10_000)
    vm_priority: Literal["dedicated", "lowpriority"] = "dedicated"
    idle_seconds_before_scaledown: int = Field(1800, ge=60, le=1_000_000)
    login: _Login = "default"
    tenant_id: _Id | None = None
    client_id: _Guid | None = None
    client_secret: _Reference | None = Field(None, repr=False)
    key_vault: _Vault | None = None
    key_vault_linked_service: _Name | None = None

    @model_validator(mode="after")
    def _check_fields(self) -> ComputeTarget:
        """The fields that the type needs, those it has no use for, and those that exclude each other."""
        given = {_alias(name) for name in self.model_fields_set} - {"type"}
        required, optional = FIELDS[self.type]
        faults = [f"{name}: found nothing, and type {self.type} needs it" for name in required if name not in given]
        faults += [f"{name}: type {self.type} has no such field" for name in sorted(given - {*required, *optional})]
        if self.password is not None and self.private_key_file is not None:
            faults.append("password: found private_key_file as well, wanted one of them")
        if self.native_shared_directory is not None and "docker" in self.type and not self.shared_volumes:
            faults.append("nativeSharedDirectory: found sharedVolumes false, wanted true: it is mounted as a volume")
        if self.is_remote and "://" in (self.address or ""):
            faults.append("address: found a URL, wanted a host name or IP address")
        faults += _databricks_faults(given) if self.type == "databricks" else _login_faults(self)
        if self.min_nodes > self.max_nodes:
            faults.append(f"minNodes: found {self.min_nodes}, wanted no more than maxNodes, which is {self.max_nodes}")
        if faults:
            raise ValueError("; ".join(faults))
        return self

    @property
    def is_remote(self) -> bool:
        """Whether the target is reached by SSH."""
        return "username" in FIELDS[self.type].required

    @property
    def is_service(self) -> bool:
        """Whether the target is a managed service, which is asked over HTTPS."""
        return self.type in SERVICES

    @property
    def may_have_key_vault(self) -> bool:
        """Whether what runs on the target can read secrets of a Key Vault for itself."""
        return "keyVault" in FIELDS[self.type].optional

    def document(self) -> dict[str, Any]:
        """The fields as they stand in the file: those of the type that have a value, in the order of the class."""
        required, optional = FIELDS[self.type]
        fields = self.model_dump(by_alias=True, exclude_none=True)
        return {name: value for name, value in fields.items() if name in ("type", *required, *optional)}


def _databricks_faults(given: set[str]) -> list[str]:
    """What Databricks is told, in the fields that are given, about who logs in and which cluster runs the script."""
    faults = []
    if ("clientId" in given) != ("clientSecret" in given):
        faults.append("clientId: wanted clientSecret with it, and the other way round")
    if "token" in given and "clientId" in given:
        faults.append("token: found clientId as well, wanted one of them")
    if "tenantId" in given and "clientId" not in given:
        faults.append("tenantId: found no clientId, wanted the service principal of that tenant")
    if "clusterId" in given:
        faults += [f"{name}: found clusterId as well, wanted one of them" for name in NEW_CLUSTER if name in given]
    else:
        wanted = NEW_CLUSTER[:2]
        faults += [f"{name}: found nothing, wanted it or clusterId" for name in wanted if name not in given]
    return faults


def _login_faults(target: ComputeTarget) -> list[str]:
    """What a service principal lacks, and what other logins have too much."""
    fields = {"tenantId": target.tenant_id, "clientId": target.client_id, "clientSecret": target.client_secret}
    if target.login == "servicePrincipal":
        return [
            f"{name}: found nothing, and login servicePrincipal needs it" for name, value in fields.items() if not value
        ]
    return ["clientSecret: login servicePrincipal alone has one"] if target.client_secret else []


@dataclass(frozen=True)
class ListedTarget:
    """A file in aml_config: the target that it describes, or why it describes none."""

    name: str
    target: ComputeTarget | None
    problem: ConfigError | None = None


def parse_compute(data: Mapping[str, Any], source: str = _KIND) -> ComputeTarget:
    """A target of a file's fields. Raises ConfigError that names the source, the fields, what was found and wanted."""
    try:
        _built(data.get("type"))  # first: the fields of another type say nothing
    except ValueError as error:
        raise ConfigError(f"{source}: type: {error}.") from None
    return validated(ComputeTarget, data, source, _EXPLAINED)


def compute_path(project: Path, name: str) -> Path:
    """The file of a target. Raises ConfigError for what can be no name."""
    return project / FOLDER / f"{checked_name(name, _KIND)}{SUFFIX}"


def read_compute(project: Path, name: str) -> ComputeTarget:
    """The target of that name. Raises ConfigError, which names those that there are where it is none of them."""
    path = compute_path(project, name)
    if not path.exists():
        known = ", ".join(listed.name for listed in list_compute(project)) or "none"
        raise ConfigError(
            f"There is no compute target {name}: found no {path}. Attached: {known}. "
            f"Add it: loadcast computetarget attach TYPE --name {name}."
        )
    return parse_compute(read_mapping(path, _KIND, _EXAMPLE), f"{_KIND} {path}")


def list_compute(project: Path) -> list[ListedTarget]:
    """All targets of a project by name, those that cannot be read with the reason."""
    listed = []
    for path in sorted((project / FOLDER).glob(f"*{SUFFIX}")):
        name = path.name.removesuffix(SUFFIX)
        try:
            checked_name(name, _KIND)
            listed.append(ListedTarget(name, parse_compute(read_mapping(path, _KIND, _EXAMPLE), f"{_KIND} {path}")))
        except ConfigError as error:
            listed.append(ListedTarget(name, None, error))
    return listed


def write_compute(project: Path, name: str, target: ComputeTarget) -> Path:
    """Write a target's file, in place of another of that name, and return its path. Raises ConfigError, OutputError."""
    path = compute_path(project, name)
    write_mapping(
        path,
        target.document(),
        "A compute target: Docs/EXPERIMENTS.md of loadcast says what each field means.\n"
        "No secret may stand in it, only where one is: env:NAME or file:PATH.",
    )
    return path
