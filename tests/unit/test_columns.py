"""The service's matrix beside the reference of kernels.encode: the same, to the last bit, for any levels and values."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadcast import schema
from loadcast.kernels.encode import Encoders
from loadcast.kernels.features import CLASSIC, DIRECT, FeatureSet
from loadcast.serving.columns import MatrixBuilder, columns_of
from reference import cold_start, feature_matrix

SERVERS = ["10.0.0.1", "10.0.0.2", "2001:db8::1", "192.0.2.9"]
WITHOUT_SERVERS = FeatureSet("anonymous", 1, CLASSIC.features, categories=("hourofday",))


def encoders(features: FeatureSet, draw: np.random.Generator) -> Encoders:
    levels = {}
    for name in features.categories:
        values = SERVERS[:3] if name == schema.SERVER else [str(value) for value in range(8)]
        strange = [] if name == schema.SERVER else ["07", "x", "-1", "٣", str(10**12)]
        levels[name] = tuple(draw.permutation([*values, *strange])[: draw.choice([1, 2, 5])])
    single = tuple(name for name, known in levels.items() if len(known) == 1)
    size = len(features.scaled)
    mean, scale = draw.normal(size=size) * 100, draw.choice([0.0, 0.3, 1e-300, 1e300], size)
    return Encoders(features, levels, single, tuple(name for name in levels if name not in single), mean, scale)


def table(features: FeatureSet, n: int, draw: np.random.Generator) -> pa.Table:
    columns = {
        schema.SERVER: draw.choice(SERVERS, n).tolist(),
        schema.HOUR: np.array(draw.integers(-(10**9), 2**33, n), dtype="datetime64[s]").astype("datetime64[us]"),
    }
    for feature in features.features:
        wide = draw.normal(size=n) * 10.0 ** draw.integers(-300, 300, n)
        columns[feature.name] = draw.integers(-1, 9, n) if feature.type == pa.int32() else wide
    return pa.table(
        {field.name: pa.array(columns[field.name]).cast(field.type) for field in features.request_schema},
        schema=features.request_schema,
    )


@pytest.mark.parametrize("features", [CLASSIC, WITHOUT_SERVERS, DIRECT])
@given(seed=st.integers(0, 2**32), n=st.integers(0, 5))
def test_the_matrix_is_that_of_the_reference(features: FeatureSet, seed: int, n: int) -> None:
    draw = np.random.default_rng(seed)
    known, rows = encoders(features, draw), table(features, n, draw)
    matrix, unseen = MatrixBuilder(known).matrix(columns_of(rows, features))
    assert matrix.tobytes() == feature_matrix(rows, known).tobytes()
    assert np.array_equal(unseen, cold_start(rows, known))
