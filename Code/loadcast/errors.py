"""The one tree of errors a user of loadcast can meet.

    LoadcastError                exit 1   HTTP 500
    ├── ConfigError              exit 2            the configuration says something that cannot be
    ├── EnvironmentNotReadyError exit 3            Java or another part of the machine is missing
    ├── InputError               exit 4            there is no data, or it cannot be read
    │   └── QualityError         exit 5            too many rows were rejected
    ├── OutputError              exit 6            the output cannot be written or published
    ├── ArtefactError            exit 7   HTTP 503 a run or model folder is missing, incomplete or changed
    ├── RequestError             exit 8   HTTP 400 a scoring request breaks the contract
    │   ├── AuthError                     HTTP 401 the key is missing or wrong
    │   └── TooLargeError                 HTTP 413 the request is larger than the service takes
    ├── ServiceError             exit 9   HTTP 502 the scoring service did not answer as it should
    │   └── PartialForecastError exit 11           some servers were answered, and written; others were not
    ├── EngineError              exit 10           Spark failed: out of memory, disk full, a fault of ours
    └── HeldBackError            exit 14           a new model loses against the last good one, which goes on

Exit codes 12 and 13 are no errors: what `loadcast monitor` found (monitoring/findings.py).
Every message says what was found, what is wanted, and what to do about it. None holds a secret or a control character.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from loadcast.secrets import shown

_LONGEST_LINE = 4_000


class LoadcastError(Exception):
    """Base of all errors with a message meant for the user; shown without a traceback unless asked for.

    Each of `lines` becomes one line of the message, whatever names and addresses it holds (secrets.shown).
    """

    exit_code: ClassVar[int] = 1
    http_status: ClassVar[int] = 500

    def __init__(self, *lines: str) -> None:
        super().__init__(*(shown(line, _LONGEST_LINE) for line in lines))

    def __str__(self) -> str:
        return "\n".join(self.args)


class ConfigError(LoadcastError):
    """The configuration holds an unknown key, a placeholder, or a value that cannot be."""

    exit_code = 2


class EnvironmentNotReadyError(LoadcastError):
    """The machine lacks something a run needs, such as Java."""

    exit_code = 3


class InputError(LoadcastError):
    """The data is missing or unreadable."""

    exit_code = 4


class QualityError(InputError):
    """More rows were rejected than maxRejectedFraction allows; nothing was published."""

    exit_code = 5


class OutputError(LoadcastError):
    """The output cannot be written or published."""

    exit_code = 6


class ArtefactError(LoadcastError):
    """A run or model folder is missing, incomplete, or not what its `info` says."""

    exit_code = 7
    http_status = 503


class RequestError(LoadcastError):
    """A scoring request breaks the contract.

    `problems` lists every fault found: dicts with `record`, `field`, `found` and `wanted`.
    """

    exit_code = 8
    http_status = 400

    def __init__(self, message: str, problems: list[dict[str, Any]] | None = None) -> None:
        super().__init__(message)
        self.problems = problems or []


class AuthError(RequestError):
    """The request carries no key, or a wrong one."""

    http_status = 401


class TooLargeError(RequestError):
    """The request is larger than the service takes."""

    http_status = 413


class ServiceError(LoadcastError):
    """The scoring service could not be reached, or did not answer as the contract says."""

    exit_code = 9
    http_status = 502


class PartialForecastError(ServiceError):
    """Some servers were answered, and their forecasts are written; others were not."""

    exit_code = 11


class EngineError(LoadcastError):
    """Spark failed for a reason that is none of the others."""

    exit_code = 10


class HeldBackError(LoadcastError):
    """A new model loses against the last good one, and was not published; `numbers` are for the run's history."""

    exit_code = 14

    def __init__(self, *lines: str, numbers: Mapping[str, float] | None = None) -> None:
        super().__init__(*lines)
        self.numbers = numbers or {}
