"""Numbers for servers, given as they come: the same for all tables that are worked on one after the other."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray


def server_codes(servers: pa.ChunkedArray, numbers: dict[str, int]) -> NDArray[np.int64]:
    """The number of each row's server, (n,). `numbers` has those that are known, and gets the next for each new one."""
    encoded = servers.combine_chunks().dictionary_encode()
    if isinstance(encoded, pa.ChunkedArray):  # no rows
        return np.zeros(0, dtype=np.int64)
    known = [numbers.setdefault(name, len(numbers)) for name in encoded.dictionary.to_pylist()]
    codes: NDArray[np.int64] = np.array(known, dtype=np.int64)[encoded.indices.to_numpy()]
    return codes
