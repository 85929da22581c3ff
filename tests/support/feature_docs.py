"""The tables of the documentation that follow from feature sets; run as a program, this writes them."""

from __future__ import annotations

import math
import re
from pathlib import Path

from loadcast.kernels.features import CLASSIC, DIRECT, EXTENDED, Encoding, Feature, FeatureSet

DOCS = Path(__file__).resolve().parents[2] / "Docs"


def feature_rows(features: FeatureSet) -> list[str]:
    """The lines of DATA.md, section 5."""
    units = [f" {one.unit}" if one.unit else "" for one in features.features]
    rows = zip(features.features, units, strict=True)
    return [f"| {one.name} | {_type(one)} |{unit} | {one.meaning} |" for one, unit in rows]


def relative_rows() -> list[str]:
    """The lines of FORECASTS.md: the features of `direct`, and which of them `extended` has."""
    return [
        f"| {one.name} | {'both' if one.name in EXTENDED.names else 'direct'} | {_range(one)} | {one.meaning} |"
        for one in DIRECT.features
    ]


def request_rows(features: FeatureSet) -> list[str]:
    """The lines of API.md's table of request fields."""
    return [f"| {one.name} | {_kind(one)} | {_range(one)} |" for one in features.features]


def _type(feature: Feature) -> str:
    return "int32" if feature.encoding is Encoding.CATEGORY else "double"


def _kind(feature: Feature) -> str:
    return "integer" if feature.encoding is Encoding.CATEGORY else "number"


def _range(feature: Feature) -> str:
    bounded = math.isfinite(feature.low) or math.isfinite(feature.high)
    return f"{feature.low:g} … {feature.high:g}" if bounded else "finite"


def main() -> None:
    """Put the rows where those of the sets stand."""
    _write("DATA.md", CLASSIC, "dayofweek", feature_rows(CLASSIC))
    _write("API.md", CLASSIC, "dayofweek", request_rows(CLASSIC))
    _write("FORECASTS.md", DIRECT, "localHour", relative_rows())


def _write(page: str, features: FeatureSet, known: str, rows: list[str]) -> None:
    path = DOCS / page
    text = path.read_text(encoding="utf-8")
    table = re.compile(rf"(?:^\| (?:{'|'.join(features.names)}) \|.*\n)+", re.MULTILINE)
    (found,) = [block for block in table.findall(text) if known in block]
    path.write_text(text.replace(found, "\n".join(rows) + "\n"), encoding="utf-8")


if __name__ == "__main__":
    main()
