"""Gates for tests: files as `loadcast monitor` writes them, of made-up models, and servers with hours at random."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa

from artefact_files import made_up_info
from loadcast import schema
from loadcast.artefacts.gate import GateFile
from loadcast.artefacts.info import Info
from loadcast.kernels.evaluation import MOST_FREQUENT
from loadcast.kernels.naive import NAIVE_COLUMNS
from loadcast.kernels.tally import ANSWERS, MODEL
from published import hourly_statistics

_N = len(schema.CLASS_NAMES)


def gappy(server: str, seed: int, hours: int = 60 * 24) -> pa.Table:
    """Hours from 2016-04-15 on with classes at random, some of them without sessions."""
    table, random = hourly_statistics(server, datetime(2016, 4, 15), hours), np.random.default_rng(seed)
    loads, observed = random.choice([100.0, 300.0, 900.0], table.num_rows), random.random(table.num_rows) < 0.7
    for name, values in ((schema.PEAK_LOAD, loads), (schema.OBSERVED, observed)):
        table = table.set_column(table.schema.get_field_index(name), name, pa.array(values))
    return table


def info_changes(feature_set: str, **changes: Any) -> dict[str, Any]:
    """What is different in the `info` of a made-up model of a feature set."""
    own = {"testSplitStart": "2016-06-01 00:00:00", "lowThreshold": 200.0, "highThreshold": 500.0}
    return {**own, "featureSet": {"name": feature_set, "version": 1}, **changes}


def info_of(feature_set: str, **changes: Any) -> Info:
    """The `info` of a made-up model."""
    return Info.parse(json.dumps(made_up_info(**info_changes(feature_set, **changes))).encode(), "made up")


def names_of(info: Info) -> list[str]:
    """The forecasts of a gate of this model."""
    naive = NAIVE_COLUMNS if info.features.simulates_cutoffs else tuple(name for name in ANSWERS if name != MODEL)
    return [MODEL, *naive, MOST_FREQUENT]


def gate_for(info: Info, newest: datetime, usual: Mapping[str, str], **changes: Any) -> GateFile:
    """A gate in which the model answers, and its probabilities stay as they are."""
    names = names_of(info)
    third, shares = [[1 / 3] * 3] * 3, [1.0, *[0.0] * (len(names) - 1)]
    band = {"answeredBy": MODEL, "servers": {}, "weights": shares, "tables": [third] * (len(names) - 1)}
    horizons = [[1, 6], [7, 24], [25, 48]] if info.features.simulates_cutoffs else [[25, 48]]
    document = {
        "modelRun": "run",
        "model": info.model_version,
        "timezone": "UTC",
        "newestHour": str(newest),
        "validUntil": str(newest),
        "commonest": 2,
        "forecasts": names,
        "bands": [{**band, "horizonHours": both} for both in horizons],
        "usual": dict(usual),
        **changes,
    }
    return GateFile.from_document({"formatVersion": 1, **document})


def random_gate(info: Info, newest: datetime, valid_until: datetime, servers: list[str], seed: int) -> GateFile:
    """A gate with answers, shares and tables at random; it knows all of these servers but the last."""
    random = np.random.default_rng(seed)
    plain, known = gate_for(info, newest, {}), servers[:-1]
    naive = plain.forecasts[1:]
    bands = []
    for number, band in enumerate(plain.bands):
        tables = random.dirichlet(np.ones(_N), (len(naive), _N)).transpose(0, 2, 1)
        bands.append(
            {
                **band.model_dump(by_alias=True),
                "answeredBy": MODEL if (number + seed) % 2 else str(random.choice(naive)),
                "servers": {server: str(random.choice(naive)) for server in known[:2]},
                "weights": random.dirichlet(np.ones(len(naive) + 1)).tolist(),
                "tables": tables.tolist(),
            }
        )
    usual = {server: "".join(map(str, random.integers(0, 4, 168).tolist())) for server in known}
    return gate_for(info, newest, usual, bands=bands, validUntil=str(valid_until))
