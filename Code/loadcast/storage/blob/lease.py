"""The exclusive writer's lock on a blob: a lease of Azure's, renewed as long as its holder lives."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from azure.core.exceptions import AzureError, HttpResponseError
from azure.storage.blob import BlobClient, BlobLeaseClient

from loadcast.errors import LoadcastError, OutputError
from loadcast.storage.blob.access import Access
from loadcast.storage.blob.faults import error_code, explained, status_of
from loadcast.storage.blob.location import BlobLocation
from loadcast.storage.blob.policy import Policy

#: Seconds that a lease holds when it is not renewed: what Azure gives at most, short of for ever.
LEASE_S = 60
_RENEWED_EVERY_S = 20.0
_RENEWAL_TIMEOUT_S = 10.0
_RELEASE_DEADLINE_S = 20.0


class Lease:
    """A lock that is held."""

    def __init__(self, lease: BlobLeaseClient, location: BlobLocation, policy: Policy, began: float) -> None:
        self._lease, self._location, self._clock = lease, location, policy.clock
        self._until = began + LEASE_S
        self._lost = False
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._renew, name="blob-lease", daemon=True)
        self._thread.start()

    def check(self) -> None:
        """Raise OutputError if the lock is ours no more: somebody broke it, or it could not be renewed in time."""
        if self._lost or self._clock() > self._until:
            raise OutputError(
                f"Lost the lock {self._location}: it was broken, or could not be renewed for {LEASE_S} s. "
                "Another run may be writing there. Run again when it is done."
            )

    def end(self) -> None:
        """Stop renewing."""
        self._done.set()
        self._thread.join(_RENEWAL_TIMEOUT_S)

    def _renew(self) -> None:
        while not self._lost and not self._done.wait(_RENEWED_EVERY_S):
            began = self._clock()
            try:
                self._lease.renew(read_timeout=_RENEWAL_TIMEOUT_S)
                self._until = began + LEASE_S
            except HttpResponseError as error:
                # Broken, taken by another, or the blob is gone. Other faults may pass before the lease ends.
                self._lost = status_of(error) in {404, 409, 412}
            except AzureError:
                continue


@contextmanager
def held_lease(blob: BlobClient, location: BlobLocation, access: Access, policy: Policy) -> Iterator[Lease]:
    """Hold a lease on a blob during the block. Raises OutputError where another holds it."""
    # The id is our own choice: asking again, when only the answer was lost, finds that we have it.
    client = BlobLeaseClient(blob, lease_id=str(uuid.uuid4()))
    began = policy.clock()
    with explained(location, access, OutputError):
        taken = policy.call(lambda _: _acquire(client))
    if not taken:
        raise OutputError(
            f"Another run is writing to {location.url.rpartition('/')[0]}. Wait for it, or choose another output. "
            f"(Was it killed? Then its lock ends within {LEASE_S} seconds.)"
        )
    lease = Lease(client, location, policy, began)
    try:
        yield lease
    finally:
        lease.end()
        # Where it cannot be given back, it ends by itself.
        with suppress(LoadcastError), explained(location, access, OutputError):
            policy.call(lambda _: client.release(), _RELEASE_DEADLINE_S)


def _acquire(client: BlobLeaseClient) -> bool:
    try:
        client.acquire(lease_duration=LEASE_S)
        return True
    except HttpResponseError as error:
        if error_code(error) != "LeaseAlreadyPresent":
            raise
        return False
