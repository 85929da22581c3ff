"""How many records a body has, and whether it can be a batch at all, before it is parsed.

A short text can stand for millions of values: 8 MiB of `[],[],…` would take a gigabyte and seconds.
"""

from __future__ import annotations

import re

import numpy as np

from loadcast.errors import RequestError, TooLargeError
from loadcast.serving.defaults import MAX_RECORDS

#: So many values are parsed without looking further: they take some megabytes.
_LIGHT = 100_000
ESCAPED = re.compile(rb"\\.", re.DOTALL)
_QUOTE, _COMMA = b'",'


def check_weight(body: bytes, most_fields: int) -> None:
    """Raise TooLargeError for more than MAX_RECORDS records, RequestError for more values than these can have."""
    n_commas = body.count(b",")
    if n_commas <= _LIGHT:
        return
    n_records = count_elements(body)
    if n_records > MAX_RECORDS:
        raise TooLargeError(f"The batch has {n_records} records, wanted at most {MAX_RECORDS}. Send less.")
    most = n_records * (most_fields + 1)
    if n_commas > most:
        raise RequestError(f"The body has {n_commas} commas, wanted at most {most} in {n_records} feature record(s).")


def count_elements(body: bytes) -> int:
    """How many elements the array has that a JSON text holds; any number where the text is no JSON."""
    text = np.frombuffer(ESCAPED.sub(b"__", body) if b"\\" in body else body, dtype=np.uint8)
    # Sums of bytes wrap at 256, which leaves them odd or even.
    outside = np.cumsum(text == _QUOTE, dtype=np.uint8) & 1 == 0
    opens, closes = (np.isin(text, list(signs)) & outside for signs in (b"[{", b"]}"))
    depth = np.cumsum(opens.astype(np.int8) - closes.astype(np.int8), dtype=np.int32)
    return int(np.count_nonzero((text == _COMMA) & outside & (depth == 1))) + 1
