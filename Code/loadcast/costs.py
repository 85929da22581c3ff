"""What wrong forecasts cost, as the configuration and `info` have it."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, PlainSerializer

from loadcast.schema import CLASS_NAMES, LARGEST_NUMBER

#: Rows the true class, columns the forecast, both in the order of schema.CLASS_NAMES.
CostMatrix = tuple[tuple[float, ...], ...]
_NAMES = tuple(CLASS_NAMES.values())
_WANTED = (
    "wanted of low, medium and high, as the true class, what each other class costs as its forecast, such as "
    '{"low": {"medium": 1, "high": 2}, …}, or a 3 × 3 matrix, a row for each true class'
)


def cost_matrix(value: Any) -> CostMatrix:
    """The matrix of an object by class names, or of three lists. Raises ValueError with what is wanted.

    In an object, a hit costs nothing unless it says so; the cost of a mistake must be there, or it may be forgotten.
    """
    if isinstance(value, dict) and set(value) == set(_NAMES):
        return tuple(_row(true, _by_class(true, value[true])) for true in _NAMES)
    if _is_row(value):
        return tuple(_row(true, row) for true, row in zip(_NAMES, value, strict=True))
    raise ValueError(_WANTED)


def by_names(costs: CostMatrix) -> dict[str, dict[str, float]]:
    """The matrix as an object: true class → forecast class → cost."""
    return {true: dict(zip(_NAMES, row, strict=True)) for true, row in zip(_NAMES, costs, strict=True)}


def _by_class(true: str, row: Any) -> Any:
    """An object's row as a list; what is none as it is."""
    known = isinstance(row, dict) and {*row, true} == set(_NAMES)
    return [row.get(forecast, 0.0) for forecast in _NAMES] if known else None


def _row(true: str, row: Any) -> tuple[float, ...]:
    if not _is_row(row):
        raise ValueError(f"wanted of the true class {true} the cost of each other class as its forecast, and no more")
    for forecast, cost in zip(_NAMES, row, strict=True):
        if isinstance(cost, bool) or not isinstance(cost, (int, float)) or not 0 <= cost <= LARGEST_NUMBER:
            raise ValueError(
                f"wanted a number from 0 to {LARGEST_NUMBER:g} as the cost of {forecast} as the forecast of {true}"
            )
    return tuple(map(float, row))


def _is_row(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and len(value) == len(_NAMES)


#: A checked matrix, given either way; it is written as an object.
Costs = Annotated[CostMatrix, BeforeValidator(cost_matrix), PlainSerializer(by_names)]
