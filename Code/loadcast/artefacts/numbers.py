"""The numbers in an artefact, each under one name, as histories and comparisons want them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from loadcast.run_logger import clean_name


def flattened(document: Mapping[str, Any]) -> dict[str, float]:
    """Numbers by their keys, joined with slashes; lists, texts, flags and what is null are left out."""
    numbers: dict[str, float] = {}
    for key, value in document.items():
        name = clean_name(key)
        if isinstance(value, Mapping):
            numbers |= {f"{name}/{rest}": number for rest, number in flattened(value).items()}
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            numbers[name] = float(value)
    return numbers
