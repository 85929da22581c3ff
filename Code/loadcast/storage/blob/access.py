"""The right to enter a container: key, SAS, Azure's default credential chain, a login, or none; see credentials.py."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

#: What tokens for storage are asked for, in every cloud.
TOKEN_SCOPE = "https://storage.azure.com/.default"


@dataclass(frozen=True)
class Access:
    """The right to enter a container. `secret` is the account key or the SAS (without `?`), else empty.

    It may travel inside tasks; it must never get into settings, command lines, logs or messages. A login is a
    credential of azure-identity's, which stays in its process.
    """

    kind: Literal["key", "sas", "chain", "login", "anonymous"]
    secret: str = field(default="", repr=False)
    login: Any = field(default=None, repr=False)


ANONYMOUS = Access("anonymous")


def make_chain() -> Any:
    """Azure's default credential chain: service principal, workload and managed identity, CLI login."""
    from azure.identity import DefaultAzureCredential

    return DefaultAzureCredential(
        exclude_shared_token_cache_credential=True,
        exclude_visual_studio_code_credential=True,
        exclude_powershell_credential=True,
        exclude_developer_cli_credential=True,
        exclude_interactive_browser_credential=True,
        exclude_broker_credential=True,
        process_timeout=5,
    )
