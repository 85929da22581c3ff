"""Docs/DATA.md names exactly the columns of schema.py, in order."""

from __future__ import annotations

import re
from pathlib import Path

import pyarrow as pa
import pytest

import classic
from feature_docs import DOCS, feature_rows, relative_rows
from loadcast import paths, schema

PAGE = (Path(__file__).parents[2] / "Docs" / "DATA.md").read_text(encoding="utf-8")
TYPES = {
    "string": pa.string(),
    "timestamp": schema.TIMESTAMP,
    "double": pa.float64(),
    "boolean": pa.bool_(),
    "int32": pa.int32(),
    "int64": pa.int64(),
}


def tables(section: int) -> list[list[list[str]]]:
    """The tables of a section: rows of cells, without the head and the rule."""
    text = PAGE.split(f"\n## {section}. ")[1].split("\n## ")[0]
    blocks = re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE)
    return [[[cell.strip() for cell in line.strip("|").split("|")] for line in one.splitlines()[2:]] for one in blocks]


def names_in(cell: str) -> list[str]:
    """Column names of a cell: `a, b`, `a1 … a5` (all between), and `a48, 49` (the second goes on as the first)."""
    found: list[str] = []
    for item in cell.replace("`", "").split(", "):
        first, _, last = item.partition(" … ")
        if re.fullmatch(r"\d+", first):
            found.append(re.sub(r"\d+$", first, found[-1]))
        elif last:
            start, end = re.search(r"\d+", first), re.search(r"\d+", last)
            assert start
            assert end
            found += [
                f"{first[: start.start()]}{number}{first[start.end() :]}"
                for number in range(int(start.group()), int(end.group()) + 1)
            ]
        else:
            found.append(item)
    return found


def columns_of(rows: list[list[str]], place: int = 0) -> list[tuple[str, str]]:
    """(name, type) of every column of a table."""
    return [(name, row[place + 1]) for row in rows for name in names_in(row[place])]


def types_of(fields: pa.Schema) -> list[tuple[str, pa.DataType]]:
    return [(field.name, field.type) for field in fields]


def test_the_reader_of_this_test_spells_ranges_out() -> None:
    assert names_in("peakLoad1Daily … peakLoad3Daily") == ["peakLoad1Daily", "peakLoad2Daily", "peakLoad3Daily"]
    assert names_in("aLag48, 49, 730, b") == ["aLag48", "aLag49", "aLag730", "b"]


def test_sessions_have_both_layouts_in_order() -> None:
    layouts, reasons, kinds = tables(1)
    names = columns_of(layouts, 2)
    assert [name for name, _ in names] == list(schema.SESSION_COLUMNS_17)
    for place, columns in ((0, schema.SESSION_COLUMNS_17), (1, schema.SESSION_COLUMNS_16)):
        numbers = [number for row in layouts for number in numbers_in(row[place], len(names_in(row[2])))]
        wanted = [columns.index(name) + 1 if name in columns else None for name, _ in names]
        assert numbers == wanted
    assert names_in(", ".join(row[0] for row in reasons)) == [reason.value for reason in schema.Reason]
    assert names_in(", ".join(row[0] for row in kinds)) == [kind.value for kind in schema.Repair]


def numbers_in(cell: str, count: int) -> list[int | None]:
    if cell == "–":
        return [None] * count
    first, _, last = cell.partition("–")
    return list(range(int(first), int(last or first) + 1))


def test_each_measure_says_which_sum_it_feeds() -> None:
    (layouts, *_) = tables(1)
    fed = {
        column: total
        for row in layouts
        if row[5].startswith("Sum")
        for column, total in zip(names_in(row[2]), names_in(row[5]), strict=True)
    }
    assert fed == dict(zip(schema.MEASURES, schema.BUCKET_SUMS, strict=True))


def test_buckets_have_their_sums() -> None:
    (rows,) = tables(2)
    assert [name for name, _ in columns_of(rows)] == [
        schema.SERVER,
        schema.BUCKET_START,
        schema.BUCKET_SUMS[0],
        schema.NUM_SESSION,
        *schema.BUCKET_SUMS[1:],
    ]


@pytest.mark.parametrize(
    ("section", "fields"), [(3, schema.HOURLY_SCHEMA), (4, schema.DAILY_SCHEMA), (7, schema.REJECTED_SCHEMA)]
)
def test_a_stage_has_its_columns_and_types_in_order(section: int, fields: pa.Schema) -> None:
    (rows,) = tables(section)
    assert [(name, TYPES[kind]) for name, kind in columns_of(rows)] == types_of(fields)


def test_features_have_their_columns_and_types_in_order() -> None:
    (rows,) = tables(5)
    made = [row for row in rows if "<c>" not in row[0]]
    known = dict(types_of(schema.HOURLY_SCHEMA))
    found = [(name, TYPES[kind] if kind else known[name]) for name, kind in columns_of(made)]
    assert found == types_of(classic.FEATURES_SCHEMA)


def test_the_features_rows_are_those_of_the_set() -> None:
    assert "\n".join(feature_rows(classic.CLASSIC)) in PAGE
    assert "\n".join(relative_rows()) in (DOCS / "FORECASTS.md").read_text(encoding="utf-8")


def test_encoded_columns_are_named_after_their_source() -> None:
    (rows,) = tables(5)
    patterns = [row[0].split("`")[1] for row in rows if "<c>" in row[0]]
    assert patterns == [schema.indexed("<c>"), schema.encoded("<c>"), schema.scaled("<c>")]


def test_the_categorical_columns_are_the_page_s() -> None:
    (listed,) = re.findall(r"Categorical columns: (.*?)\.", PAGE, re.DOTALL)
    assert tuple(re.split(r",\s+", listed)) == classic.CATEGORICAL_COLUMNS


def test_predictions_have_their_columns_in_order() -> None:
    always, of_origins = tables(6)
    found = [name for row in (*always, *of_origins) for name in names_in(row[0])]
    assert found == schema.ORIGIN_PREDICTIONS_SCHEMA.names


def test_the_page_s_numbers_are_the_code_s() -> None:
    (marks,) = re.findall(r"empty, or one of (.*) in any case", PAGE)
    assert {mark.strip("`").lower() for mark in marks.split(", ")} | {""} == schema.MISSING_MARKS
    (limit,) = re.findall(r"above 10\^(\d+)", PAGE)
    assert 10.0 ** int(limit) == schema.LARGEST_NUMBER
    assert f"at most {schema.REJECTED_LINE_CHARS:,} characters" in PAGE
    for name in (paths.FEATURES, paths.HOURLY, paths.DAILY, paths.PREDICTIONS, paths.REJECTED):
        assert f"`{name}/" in PAGE


def test_no_stage_names_a_column_twice() -> None:
    for fields in (schema.HOURLY_SCHEMA, schema.DAILY_SCHEMA, classic.FEATURES_SCHEMA, schema.REJECTED_SCHEMA):
        assert len(set(fields.names)) == len(fields.names)
    assert len(set(schema.PREDICTION_COLUMNS)) == len(schema.PREDICTION_COLUMNS)
