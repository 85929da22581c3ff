"""The tables of the documentation that follow from a feature set; run as a program, this writes those of `classic`."""

from __future__ import annotations

import math
import re
from pathlib import Path

from loadcast.kernels.features import CLASSIC, Encoding, Feature, FeatureSet

DOCS = Path(__file__).resolve().parents[2] / "Docs"


def feature_rows(features: FeatureSet) -> list[str]:
    """The lines of DATA.md, section 5."""
    units = [f" {one.unit}" if one.unit else "" for one in features.features]
    rows = zip(features.features, units, strict=True)
    return [f"| {one.name} | {_type(one)} |{unit} | {one.meaning} |" for one, unit in rows]


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
    """Put the rows where those of `classic` stand."""
    names = "|".join(CLASSIC.names)
    for page, rows in (("DATA.md", feature_rows(CLASSIC)), ("API.md", request_rows(CLASSIC))):
        path = DOCS / page
        text = path.read_text(encoding="utf-8")
        table = re.compile(rf"(?:^\| (?:{names}) \|.*\n)+", re.MULTILINE)
        (found,) = [block for block in table.findall(text) if "dayofweek" in block]
        path.write_text(text.replace(found, "\n".join(rows) + "\n"), encoding="utf-8")


if __name__ == "__main__":
    main()
