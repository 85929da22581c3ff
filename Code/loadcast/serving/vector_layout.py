"""The vector that a bundle's model was trained on, told in columns of the matrix that loadcast makes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from loadcast import schema
from loadcast.kernels.encode import Encoders
from loadcast.models.rearranged import NO_COLUMN, Arrangement
from loadcast.serving.encoder_stages import OneHot


def arrangement(encoders: Encoders, vector: Sequence[str], one_hots: Mapping[str, OneHot]) -> Arrangement:
    """Where the features of `vector` come from, each column of encoders.vector once, in the model's order.

    loadcast's matrix has a slot for each level. An encoder that drops the last level has one less, and one that keeps
    unseen ones a slot more.
    """
    starts = _starts(encoders)
    columns: list[int] = []
    unseen: list[tuple[int, int, int]] = []
    for name in vector:
        start, width = starts[name]
        slots = one_hots[name].n_slots if name in one_hots else 1
        if slots > width:
            unseen.append((len(columns) + width, start, start + width))
        columns.extend(range(start, start + min(slots, width)))
        columns.extend([NO_COLUMN] * (slots - width))
    return Arrangement(np.array(columns, dtype=np.intp), tuple(unseen), encoders.n_features)


def _starts(encoders: Encoders) -> dict[str, tuple[int, int]]:
    """First column and width of each part of loadcast's own matrix."""
    widths = {schema.encoded(name): len(encoders.levels[name]) for name in encoders.for_encode}
    starts, at = {}, 0
    for name in encoders.vector:
        width = widths.get(name, 1)
        starts[name] = (at, width)
        at += width
    return starts
