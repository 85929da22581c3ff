"""Keeping secrets out of logs: the libraries below log URLs, and a SAS stands in a URL."""

from __future__ import annotations

import logging

from loadcast.logs.redaction import Redaction

#: These warn of bodies that break off, which are asked for again, and of logins that are not there, which is no fault.
_TRANSPORT, _IDENTITY = "azure.core.pipeline.transport._requests_basic", "azure.identity"
#: Loggers that have been seen to get URLs or headers, or that log what others said.
_LOGGERS = (
    "urllib3.connectionpool",
    "urllib3.connection",
    "urllib3.util.retry",
    "requests",
    "azure.core.pipeline.policies.http_logging_policy",
    "azure.core.pipeline.policies._universal",
    "azure.storage.blob._shared.policies",
    _TRANSPORT,
)


def quiet_loggers() -> None:
    """Take secrets out of what the libraries below log. May be called any number of times."""
    for name in _LOGGERS:
        logger = logging.getLogger(name)
        if _REDACTION not in logger.filters:
            logger.addFilter(_REDACTION)
    for name in (_TRANSPORT, _IDENTITY):
        if logging.getLogger(name).level == logging.NOTSET:
            logging.getLogger(name).setLevel(logging.ERROR)


_REDACTION = Redaction()
