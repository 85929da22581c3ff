"""What a service of Azure is asked to do for a script, and the container where it is told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from loadcast.errors import ConfigError
from loadcast.experiments.compute import ComputeTarget
from loadcast.experiments.services.blob_store import BlobStore
from loadcast.experiments.target_types import Job, spark_variables
from loadcast.storage.blob.access import Access
from loadcast.storage.blob.location import BlobLocation, parse_blob_url


@dataclass(frozen=True)
class ServicePlan:
    """A script's words, its interpreter (None: that of the service), its variables, and what the service is told.

    `vault` names a Key Vault and, by variable, the secrets there that the job reads for itself.
    """

    words: tuple[str, ...]
    python: str | None
    variables: Mapping[str, str]
    vault: Mapping[str, Any] | None
    service: Mapping[str, Any]

    @classmethod
    def of(
        cls, target: ComputeTarget, job: Job, service: Mapping[str, Any], *, tell_pyspark: bool = True
    ) -> ServicePlan:
        """The plan for a script; with `tell_pyspark` pyspark is told Spark's settings. Raises ConfigError for secrets
        that the service would have to be handed."""
        variables = dict(job.variables)
        if tell_pyspark:
            variables.update(spark_variables(job.spark))
        return cls(job.words, target.python_location, variables, _vault(target, job), service)

    def request(self, entries: Sequence[tuple[str, str, bool]]) -> dict[str, Any]:
        """As the bootstrap reads it, with the files [path, sha256, executable] of the working directory."""
        return {
            "words": [*self.words],
            "python": self.python,
            "environment": dict(self.variables),
            "vault": self.vault,
            "service": self.service,
            "entries": [[*entry] for entry in entries],
        }


def store_of(target: ComputeTarget, login: Any) -> BlobStore:
    """The container of a target, entered with its login."""
    location, _ = parse_blob_url(target.storage or "")
    return BlobStore(location, Access("login", login=login))


def azure_url(location: BlobLocation, scheme: str, endpoint: str) -> str:
    """A blob as services of Azure name it, `abfss` at the `dfs` endpoint; one of an emulator by its own address."""
    host = urlsplit(location.endpoint).hostname or ""
    account, _, rest = host.partition(".blob.")
    return f"{scheme}://{location.container}@{account}.{endpoint}.{rest}/{location.path}" if rest else location.url


def _vault(target: ComputeTarget, job: Job) -> dict[str, Any] | None:
    if job.secrets:
        raise ConfigError(
            f"EnvironmentVariables.{job.secrets[0]}: found env: or file:, wanted keyvault:SECRET. What a job on "
            f"{target.type} is told can be read by others in its workspace, so it reads secrets for itself: put the "
            "secret into a Key Vault that its identity may read, and name that as keyVault in the compute file."
        )
    if not job.vault_secrets:
        return None
    if target.key_vault is None:
        raise ConfigError(
            f"EnvironmentVariables.{next(iter(job.vault_secrets))}: found keyvault:, and the compute target has no "
            "keyVault. Wanted the name of the Key Vault there."
        )
    linked = {"linkedService": target.key_vault_linked_service} if target.key_vault_linked_service else {}
    return {"name": target.key_vault, **linked, "secrets": dict(job.vault_secrets)}
