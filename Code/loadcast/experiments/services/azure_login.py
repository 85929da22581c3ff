"""Logins of managed services, by azure-identity: whom a target acts as, and what services say when they refuse it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

from azure.core.exceptions import (
    AzureError,
    ClientAuthenticationError,
    HttpResponseError,
    ServiceRequestError,
    ServiceResponseError,
)

from loadcast.errors import ConfigError, EnvironmentNotReadyError, LoadcastError
from loadcast.experiments.compute import ComputeTarget
from loadcast.references import read_reference
from loadcast.storage.blob.access import make_chain
from loadcast.storage.blob.faults import refused_login
from loadcast.storage.blob.redaction import quiet_loggers

_REFUSED = {401, 403}


def credential_of(target: ComputeTarget) -> Any:
    """The credential of a target's login; the same for the same login, so that its tokens are asked for once.

    Raises ConfigError where its secret is not where the reference says.
    """
    quiet_loggers()
    secret = read_reference(target.client_secret, "clientSecret") if target.client_secret else None
    names = target.tenant_id, target.client_id
    return _credential(target.login, *names, secret, os.environ.get("AZURE_AUTHORITY_HOST"))


@cache
def _credential(login: str, tenant: str | None, client: str | None, secret: str | None, authority: str | None) -> Any:
    import azure.identity as identity

    # Who names another authority, as for a cloud of one's own, is taken at their word: the public one is not asked.
    own: dict[str, Any] = {"authority": authority, "disable_instance_discovery": True} if authority else {}
    if login == "servicePrincipal":
        return identity.ClientSecretCredential(tenant or "", client or "", secret or "", **own)
    if login == "managedIdentity":
        return identity.ManagedIdentityCredential(client_id=client)
    if login == "user":
        browser: Any = identity.InteractiveBrowserCredential(**({"tenant_id": tenant} if tenant else {}), **own)
        return identity.ChainedTokenCredential(
            identity.AzureCliCredential(tenant_id=tenant or "", process_timeout=10), browser
        )
    return make_chain()


@contextmanager
def told(service: str) -> Iterator[None]:
    """Turn what a service's library raises into one line that names the service."""
    problem: LoadcastError
    try:
        yield
        return
    except ClientAuthenticationError as error:
        answered = isinstance(error.status_code, int)
        problem = _refused(service, error) if answered else ConfigError(f"{service}: {refused_login(error)}")
    except HttpResponseError as error:
        problem = _refused(service, error) if error.status_code in _REFUSED else _failed(service, error)
    except (ServiceRequestError, ServiceResponseError) as error:
        problem = EnvironmentNotReadyError(
            f"{service} cannot be reached: {error.message}. Check its name and the network; runs there go on."
        )
    except AzureError as error:
        problem = EnvironmentNotReadyError(f"{service}: {error.message or error}")
    try:
        raise problem
    finally:
        problem.__context__ = None  # it may hold a header


def _refused(service: str, error: HttpResponseError) -> ConfigError:
    return ConfigError(f"{service} refuses this login: {_said(error)} Give its identity a role there that may do this.")


def _failed(service: str, error: HttpResponseError) -> ConfigError:
    return ConfigError(f"{service} answered {error.status_code}: {_said(error)} Check the target's fields.")


def _said(error: HttpResponseError) -> str:
    line = next((line.strip() for line in str(error.message or error.reason or "").splitlines() if line.strip()), "")
    return f"{line.rstrip('.')}." if line else ""
