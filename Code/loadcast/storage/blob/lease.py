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
from loadcast.storage.blob.errors import error_code, status_of
from loadcast.storage.blob.faults import GONE_CONTAINER, explained
from loadcast.storage.blob.location import BlobLocation
from loadcast.storage.blob.policy import Policy
from loadcast.storage.publishing import LostLockError

#: Seconds that a lease holds when it is not renewed: what Azure gives at most, short of for ever.
LEASE_S = 60
_RENEWED_EVERY_S = 20.0
_RENEWAL_TIMEOUT_S = 10.0
_RELEASE_DEADLINE_S = 20.0
#: Answers to those who would have a lease that another has.
_TAKEN = {"LeaseAlreadyPresent", "LeaseIsBreakingAndCannotBeAcquired"}


class Lease:
    """A lock that is held, as far as is known."""

    def __init__(self, lease: BlobLeaseClient, location: BlobLocation, access: Access, policy: Policy) -> None:
        self._lease, self._location, self._access, self._policy = lease, location, access, policy
        self._lost = False
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._renew, name="blob-lease", daemon=True)
        self._thread.start()

    def prove(self) -> None:
        """Ask the server, by a renewal, whether the lock is ours: one that ended is, while nobody else has had it.

        Raises LostLockError where it is not, OutputError where the server cannot be asked.
        """
        with explained(self._location, self._access, OutputError):
            if not self._lost:
                self._lost = not self._policy.call(lambda _: _renewed(self._lease))
        if self._lost:
            raise LostLockError(
                f"Lost the lock {self._location}: it was broken, or could not be renewed for {LEASE_S} s. "
                "Another run may be writing there. Run again when it is done."
            )

    def end(self) -> None:
        """Stop renewing."""
        self._done.set()
        self._thread.join(_RENEWAL_TIMEOUT_S)

    def _renew(self) -> None:
        while not self._lost and not self._done.wait(_RENEWED_EVERY_S):
            with suppress(AzureError):  # that may pass before the lease ends
                self._lost = not _renewed(self._lease)


def _renewed(lease: BlobLeaseClient) -> bool:
    """Whether the lease could be renewed: not if it was broken or taken by another, or the blob is gone."""
    try:
        lease.renew(read_timeout=_RENEWAL_TIMEOUT_S)
    except HttpResponseError as error:
        if status_of(error) not in {404, 409, 412} or error_code(error) in GONE_CONTAINER:
            raise
        return False
    return True


@contextmanager
def held_lease(blob: BlobClient, location: BlobLocation, access: Access, policy: Policy) -> Iterator[Lease]:
    """Hold a lease on a blob during the block. Raises OutputError where another holds it."""
    # The id is our own choice: asking again, when only the answer was lost, finds that we have it.
    client = BlobLeaseClient(blob, lease_id=str(uuid.uuid4()))
    with explained(location, access, OutputError):
        holder = policy.call(lambda _: None if _acquire(client) else _end_of_lease(blob))
    if holder is not None:
        raise OutputError(
            f"Another run is writing to {location.url.rpartition('/')[0]}. Wait for it, or choose another output. "
            f"(Was it killed? {holder})"
        )
    lease = Lease(client, location, access, policy)
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
        if error_code(error) not in _TAKEN:
            raise
        return False


def _end_of_lease(blob: BlobClient) -> str:
    """When the lease that another holds will end, in words."""
    lease = blob.get_blob_properties().lease
    if lease.state == "breaking":
        return f"Then its lock ends within {LEASE_S} seconds, as it is being broken."
    if lease.duration == "infinite":
        return (
            "Another program has taken the lock for ever: it does not end by itself. Break it where nobody writes: "
            f"az storage blob lease break --account-name {blob.account_name} -c {blob.container_name} "
            f"-b {blob.blob_name}"
        )
    return f"Then its lock ends within {LEASE_S} seconds."
