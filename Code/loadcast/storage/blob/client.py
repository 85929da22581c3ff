"""One process's connections to a container."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from email.utils import formatdate
from functools import cached_property
from typing import Any
from urllib.parse import quote

from azure.core.credentials import AzureSasCredential
from azure.core.pipeline import Pipeline
from azure.core.pipeline.policies import AzureSasCredentialPolicy, BearerTokenCredentialPolicy, UserAgentPolicy
from azure.core.pipeline.transport import HttpRequest, RequestsTransport
from azure.storage.blob import ContainerClient

from loadcast.storage.blob.access import TOKEN_SCOPE, Access, make_chain
from loadcast.storage.blob.connections import make_session
from loadcast.storage.blob.location import BlobLocation
from loadcast.storage.blob.policy import CONNECT_TIMEOUT_S, READ_TIMEOUT_S, Policy
from loadcast.storage.blob.redaction import quiet_loggers

#: Requests at the same time: enough to fill a fast line at some 30 ms a request.
PARALLEL_REQUESTS = 8
#: Bytes asked for at once: requests cost little beside them, and little is lost when one has to be asked again.
RANGE_BYTES = 16 << 20
_KEPT_BUFFERS = 4
_USER_AGENT = "loadcast"


class Client:
    """Connections, threads and buffers of this process, shared by all its threads."""

    def __init__(self, root: BlobLocation, access: Access) -> None:
        quiet_loggers()
        self.policy = Policy()
        self.root = root
        self._buffers: list[bytearray] = []
        self._transport = RequestsTransport(
            session=make_session(self.policy.has_answered),
            session_owner=False,
            connection_timeout=CONNECT_TIMEOUT_S,
            read_timeout=READ_TIMEOUT_S,
        )
        self.sdk = ContainerClient(
            root.endpoint, root.container, _credential(root, access), transport=self._transport, retry_total=0
        )
        self._pipeline: Pipeline[Any, Any] = Pipeline(self._transport, [UserAgentPolicy(_USER_AGENT), *self._signing()])

    @cached_property
    def threads(self) -> ThreadPoolExecutor:
        """The threads that make requests. What they run must not wait for another of them."""
        return ThreadPoolExecutor(PARALLEL_REQUESTS, thread_name_prefix="blob")

    def get(self, name: str, headers: dict[str, str], read_timeout_s: float) -> Any:
        """The answer to GET for a blob: the SDK's response, its body not read yet; to be closed.

        The SDK's own download joins and copies the body in small pieces, which takes four times the processor time.
        """
        url = f"{self.root.endpoint}/{self.root.container}/{quote(name, safe='/~')}"
        signed = {"x-ms-version": self.sdk.api_version, "x-ms-date": formatdate(usegmt=True), **headers}
        request = HttpRequest("GET", url, headers=signed)
        options = {"connection_timeout": CONNECT_TIMEOUT_S, "read_timeout": read_timeout_s}
        return self._pipeline.run(request, stream=True, **options).http_response

    def take_buffer(self, size: int) -> bytearray:
        """At least `size` bytes to read into: used ones, as memory that is new to the process costs as much as reading.

        For what is small, a small buffer is made.
        """
        if size <= RANGE_BYTES // 16:
            return bytearray(size)
        try:
            return self._buffers.pop()
        except IndexError:
            return bytearray(RANGE_BYTES)

    def give_back(self, buffer: bytearray) -> None:
        """Take a buffer back that nobody uses any more."""
        if len(buffer) == RANGE_BYTES and len(self._buffers) < _KEPT_BUFFERS:
            self._buffers.append(buffer)

    def _signing(self) -> list[Any]:
        """The policy that signs requests as the SDK signs its own."""
        credential: Any = self.sdk.credential
        if isinstance(credential, AzureSasCredential):
            return [AzureSasCredentialPolicy(credential)]
        if hasattr(credential, "get_token"):
            return [BearerTokenCredentialPolicy(credential, TOKEN_SCOPE)]
        return [] if credential is None else [credential]  # for keys, the SDK's credential is its policy


def connect(root: BlobLocation, access: Access) -> Client:
    """The process's client for a container. A forked process makes its own: connections cannot be shared."""
    key = (os.getpid(), root, access)
    client = _clients.get(key)
    if client is None:
        client = _clients.setdefault(key, Client(root, access))
    return client


#: By process as well: a fork inherits its parent's, and must leave their connections alone.
_clients: dict[tuple[int, BlobLocation, Access], Client] = {}


def _credential(root: BlobLocation, access: Access) -> Any:
    if access.kind == "key":
        return {"account_name": root.account, "account_key": access.secret}
    if access.kind == "sas":
        return AzureSasCredential(access.secret)
    return make_chain() if access.kind == "chain" else access.login
