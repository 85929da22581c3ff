"""Lists of blobs, page by page; one that was cut or damaged on its way is noticed."""

from __future__ import annotations

from typing import Any

from azure.core.exceptions import DecodeError, IncompleteReadError
from azure.storage.blob import BlobProperties, ContainerClient

from loadcast.storage.blob.policy import Attempts, BrokenAnswerError

#: What Azure gives at most.
_PAGE_BLOBS = 5000
_ROOT = b"EnumerationResults"


def list_page(
    client: ContainerClient, prefix: str, token: str, attempts: Attempts
) -> tuple[list[BlobProperties], str | None]:
    """The blobs of a page, with their metadata, and the token of the next page, None after the last; one attempt.

    The first page's token is empty. Raises BrokenAnswerError where what came is no list, or an error of the libraries.
    """
    pages: Any = client.list_blobs(
        name_starts_with=prefix or None,
        include=["metadata"],
        results_per_page=_PAGE_BLOBS,
        read_timeout=attempts.stall_timeout_s,
        raw_response_hook=_check_whole,
    ).by_page(token or None)
    try:
        page = list(next(pages))
    except IncompleteReadError:
        raise
    except (DecodeError, ValueError, TypeError, AttributeError, KeyError) as error:
        # The SDK's reader takes what it gets for a list.
        raise BrokenAnswerError("the list of blobs that arrived cannot be read") from error
    return page, pages.continuation_token or None


def _check_whole(answer: Any) -> None:
    """A list that is cut may still look like one of fewer blobs, or like none."""
    response = answer.http_response
    if response.status_code == 200:
        body = response.read().strip()
        if b"<" + _ROOT not in body[:1000] or not body.endswith(b"</" + _ROOT + b">"):
            raise BrokenAnswerError("the list of blobs did not arrive whole")
