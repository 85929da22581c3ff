"""schemathesis against the service in process: no failure, no answer outside the OpenAPI document. About 20 s.

LOADCAST_SCHEMA_CASES=8000 runs 20,000 cases and more, on all routes: about 40 minutes.
"""

from __future__ import annotations

import logging
import os
import sys
from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from schemathesis.config import SchemathesisConfig
from schemathesis.engine import events, from_schema

from bundles import random_features, write_bundle
from loadcast.kernels.features import CLASSIC, Encoding
from loadcast.serving.app import create_app
from loadcast.serving.keys import Keys
from loadcast.serving.predictor import Predictor
from published import TRAIN_BEGIN, hourly_statistics, publish

pytestmark = pytest.mark.slow

KEY = "s3cret-key"
N_CASES = int(os.environ.get("LOADCAST_SCHEMA_CASES", "0"))
#: The same as others, with a name in the path.
TWINS = ["score_by_name", "infer_version", "v2_model_version", "v2_model_ready_version"]
#: Whose inputs never end: two for records, two for tensors, and forecasts.
N_OPERATIONS_WITH_INPUT = 5
#: The largest number in the document's own digits, which are a little less than the last double.
LARGEST = int(Decimal(repr(sys.float_info.max)))
WHOLE = {feature.name for feature in CLASSIC.features if feature.encoding is Encoding.CATEGORY}


def config() -> SchemathesisConfig:
    off = {"enabled": False}
    refusals = ["400", "401", "404", "405", "413", "415"]
    return SchemathesisConfig.from_dict(
        {
            "headers": {"Authorization": f"Bearer {KEY}"},
            "generation": {
                "max-examples": max(2, N_CASES // N_OPERATIONS_WITH_INPUT),
                "deterministic": not N_CASES,
                "database": "none",
                "no-shrink": True,
            },
            "phases": {"stateful": {"enabled": False}},
            # What goes on without a key is tested in test_app.py; this check fails over WSGI by itself.
            "checks": {"ignored_auth": off, "negative_data_rejection": {"expected-statuses": refusals}},
            "operations": [
                # That data and shape agree no schema can say.
                {"include-operation-id": ["infer", "infer_version"], "checks": {"positive_data_acceptance": off}},
                *([] if N_CASES else [{"include-operation-id": TWINS, "enabled": False}]),
            ],
        }
    )


def within_json_schema(context: object, body: Any) -> Any:
    """What JSON Schema sees otherwise than the service: 7.0, and integers that round to the last double."""
    for record in body if isinstance(body, list) else []:
        for name, value in record.items() if isinstance(record, dict) else ():
            if name in WHOLE and isinstance(value, float) and value.is_integer():
                record[name] = int(value)
            elif name in CLASSIC.names and isinstance(value, int) and abs(value) > LARGEST:
                record[name] = 10 * value
    return body


def test_no_answer_lies_outside_the_document(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL, "loadcast")
    predictor = Predictor.load(write_bundle(tmp_path / "bundle", random_features(300)))
    publish(tmp_path / "output", hourly_statistics("192.0.2.1", TRAIN_BEGIN, 800))
    keys = Keys.parse(KEY.encode(), "key")
    app = create_app(predictor, keys=keys, name="loadcast", statistics=tmp_path / "output")
    headers = {"Authorization": f"Bearer {KEY}"}
    document = schemathesis.openapi.from_wsgi("/openapi.json", app, headers=headers, config=config())
    document.hooks.hook("map_body")(within_json_schema)
    statuses: Counter[int] = Counter()
    failures: list[str] = []
    for event in from_schema(document).execute():
        if isinstance(event, events.ScenarioFinished):
            recorder = event.recorder
            answers = [interaction.response for interaction in recorder.interactions.values()]
            statuses.update(answer.status_code for answer in answers if answer is not None)
            for check in (check for checks in recorder.checks.values() for check in checks if check.failure_info):
                failures.append(f"{recorder.label}: {check.name}: {check.failure_info.failure.message[:2000]}")
        elif isinstance(event, (events.NonFatalError, events.FatalError)):
            failures.append(str(event.__dict__ if hasattr(event, "__dict__") else event))
    assert not failures, "\n".join(failures[:10])
    assert {200, 400, 401, 404, 405, 415} <= statuses.keys()
    print(f"{statuses.total():,} cases: {dict(statuses)}")
    assert statuses.total() >= max(200, N_CASES)
