"""Bundles that somebody has spoilt, by chance or on purpose: one line says which file it is and what to do.

LOADCAST_BUNDLE_CASES says how many files are spoilt at random.
"""

from __future__ import annotations

import json
import os
import pickle
import random
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from artefact_files import PUBLIC_SAMPLE_INFO
from bundles import random_features
from loadcast import paths
from loadcast.errors import ArtefactError
from loadcast.models import parquet_tables
from loadcast.serving import bundle as module
from loadcast.serving.bundle import load_bundle
from spark_layouts import LAYOUTS, Layout, MadeBundle, relist, stage_folder, write_layout, write_table

N_CASES = int(os.environ.get("LOADCAST_BUNDLE_CASES", "60"))
SAMPLE = Layout("2.1.1", by_column=True, labels="labels", invalid="skip", hot_class="OneHotEncoder", info="pickle")
OWN = LAYOUTS["4.3, in another order"]
FOREST_DATA = f"{paths.FOREST_MODEL}/data"
Spoil = Callable[[MadeBundle], None]


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> dict[bool, MadeBundle]:
    folder, rows = tmp_path_factory.mktemp("originals"), random_features(100)
    return {
        layout.is_sample: write_layout(folder / layout.info, rows, layout, seed=number)
        for number, layout in enumerate((SAMPLE, OWN))
    }


@pytest.fixture
def sample(originals: dict[bool, MadeBundle], tmp_path: Path) -> MadeBundle:
    return copied(originals[True], tmp_path / "sample")


@pytest.fixture
def own(originals: dict[bool, MadeBundle], tmp_path: Path) -> MadeBundle:
    return copied(originals[False], tmp_path / "own")


def copied(made: MadeBundle, folder: Path) -> MadeBundle:
    shutil.copytree(made.folder, folder)
    return MadeBundle(folder, made.layout, made.levels, made.mean, made.std, made.vector, made.trees)


def refusal(made: MadeBundle) -> str:
    """The one line that refuses a bundle."""
    with pytest.raises(ArtefactError) as caught:
        load_bundle(made.folder)
    line = str(caught.value)
    assert line.isprintable()
    assert len(line) < 1_500
    return line


def part(folder: Path) -> Path:
    return sorted(folder.glob("part-*"))[0]


def change_metadata(folder: Path, **params: Any) -> None:
    file = part(folder / "metadata")
    data = json.loads(file.read_text())
    file.write_text(json.dumps({**data, "paramMap": {**data["paramMap"], **params}}))


def replace_row(folder: Path, **columns: Any) -> None:
    file = part(folder / "data")
    table = pq.read_table(file)
    rows = [{**table.to_pylist()[0], **columns}]
    pq.write_table(pa.Table.from_pylist(rows, table.schema), file)


def indexer(made: MadeBundle, number: int = 0) -> Path:
    return stage_folder(made, paths.STRING_INDEX_MODEL, number)


def encoder(made: MadeBundle, number: int = 0) -> Path:
    return stage_folder(made, paths.ONE_HOT_MODEL, number)


# --- what stands in the files ---------------------------------------------------------------------------------------


def of_sample(**spoils: tuple[Spoil, str]) -> Any:
    return pytest.mark.parametrize(("spoil", "reason"), spoils.values(), ids=spoils)


@of_sample(
    no_level=(lambda made: replace_row(indexer(made, 1), labels=[]), "numFeatures is"),
    a_level_that_is_null=(lambda made: replace_row(indexer(made), labels=[None, "Monday"]), "no text"),
    no_levels=(lambda made: replace_row(indexer(made), labels=None), "is not in the form that Spark ML"),
    a_level_twice=(lambda made: replace_row(indexer(made, 1), labels=["10.0.0.1"] * 2), "names a level twice"),
    other_days=(
        lambda made: replace_row(indexer(made), labels=["Montag\n"]),
        r"dayofweek 'Montag\\n', wanted Monday to",
    ),
    another_column=(lambda made: change_metadata(indexer(made), inputCol="month"), "dayofweek_indexed of another"),
    a_column_twice=(lambda made: change_metadata(indexer(made), outputCol="ServerIP_indexed"), "a second time"),
    a_column_too_much=(
        lambda made: change_metadata(indexer(made), outputCol="x\x1b"),
        "encodes dayofweek_indexed, which",
    ),
    no_column=(lambda made: change_metadata(indexer(made), inputCol=5), "as many input columns"),
    an_unknown_choice=(lambda made: change_metadata(indexer(made), handleInvalid=["\n"]), "for handleInvalid, wanted"),
    a_slot_more=(lambda made: change_metadata(encoder(made), dropLast=False), "numFeatures is"),
    no_answer=(lambda made: change_metadata(encoder(made), dropLast="yes"), "for dropLast, wanted true or false"),
    encodes_nothing=(lambda made: change_metadata(encoder(made), inputCol="\r\n"), r"encodes \\r\\n, which"),
    makes_something=(lambda made: change_metadata(encoder(made), outputCol="\a"), "does not make"),
    a_missing_stage=(lambda made: shutil.rmtree(indexer(made, 3)), "has no stringIndexModel/stages/03_"),
    no_data=(lambda made: shutil.rmtree(indexer(made, 3) / "data"), "has no stringIndexModel/stages/03_"),
    no_scaler=(lambda made: shutil.rmtree(made.folder / paths.SCALE_MODEL), "has no featureScaleModel/metadata"),
    a_path_for_a_stage=(
        lambda made: change_metadata(made.folder / paths.STRING_INDEX_MODEL, stageUids=["../../../etc"]),
        "has no stringIndexModel/stages/0_",
    ),
    a_long_name_for_a_stage=(
        lambda made: change_metadata(made.folder / paths.STRING_INDEX_MODEL, stageUids=["x" * 10_000]),
        "has no stringIndexModel/stages/0_",
    ),
    many_stages=(
        lambda made: change_metadata(made.folder / paths.STRING_INDEX_MODEL, stageUids=["x"] * 1_001),
        "has 1001 stages",
    ),
    stages_of_no_list=(
        lambda made: change_metadata(made.folder / paths.STRING_INDEX_MODEL, stageUids={"x": 1}),
        "no list of stages",
    ),
    a_short_vector=(
        lambda made: replace_row(
            made.folder / paths.SCALE_MODEL, std={"type": 1, "size": None, "indices": None, "values": [1.0]}
        ),
        "vector of size 1, wanted 20",
    ),
    indices_outside=(
        lambda made: replace_row(
            made.folder / paths.SCALE_MODEL, std={"type": 0, "size": 20, "indices": [-1], "values": [1.0]}
        ),
        "indices that are not 0 to 19",
    ),
    a_scale_that_is_no_number=(
        lambda made: replace_row(
            made.folder / paths.SCALE_MODEL, std={"type": 0, "size": 20, "indices": [3], "values": [float("nan")]}
        ),
        "wanted 20 finite ones",
    ),
    nulls_in_nodes=(
        lambda made: pq.write_table(
            pa.Table.from_pylist([{"treeID": None, "nodeData": None}], pq.read_schema(part(made.folder / FOREST_DATA))),
            part(made.folder / FOREST_DATA),
        ),
        "does not say all|does not count",
    ),
    a_split_without_values=(
        lambda made: replace_row(
            made.folder / paths.FOREST_MODEL, treeID=0, nodeData={"id": 0, "impurityStats": [1.0] * 4, "split": {}}
        ),
        "does not say all",
    ),
    half_a_forest=(lambda made: part(made.folder / FOREST_DATA).unlink(), "mlModel/data in .* is no forest"),
    another_class=(
        lambda made: part(made.folder / FOREST_DATA / ".." / "metadata").write_text('{"class": "a.b\\n\\u001b[2J"}'),
        r"holds a\.b\\n\\x1b\[2J, wanted",
    ),
    code_in_the_pickle=(
        lambda made: (made.folder / paths.INFO).write_bytes(b"\x80\x04cos\nsystem\n."),
        "info in .* opcode",
    ),
    another_pickle=(
        lambda made: (made.folder / paths.INFO).write_bytes(pickle.dumps({**PUBLIC_SAMPLE_INFO, "duration": "\n"})),
        "info in .* cannot be read",
    ),
)
def test_a_spoilt_bundle_of_the_sample_is_refused_in_one_line(sample: MadeBundle, spoil: Spoil, reason: str) -> None:
    assert load_bundle(sample.folder).info.is_of_public_sample
    spoil(sample)
    with pytest.raises(ArtefactError, match=reason):
        load_bundle(sample.folder)
    # There is nothing to fetch it from.
    assert "etch" not in refusal(sample)


@pytest.mark.parametrize("sizes", [[], [1], [2**31 - 1] * 7, None])
def test_sizes_that_do_not_fit_the_levels_are_refused(own: MadeBundle, sizes: list[int] | None) -> None:
    replace_row(encoder(own), categorySizes=sizes)
    relist(own)
    assert "do not fit stringIndexModel" in refusal(own)


@pytest.mark.parametrize("change", ["doubled", "short", "strange"])
def test_a_vector_in_no_order_of_these_columns_is_refused(own: MadeBundle, change: str) -> None:
    info = json.loads((own.folder / paths.INFO).read_text())
    columns = info["featureColumns"]
    info["featureColumns"] = {
        "doubled": [*columns, columns[0]],
        "short": columns[1:],
        "strange": [*columns[1:], "\x1b]0;x\a"],
    }[change]
    (own.folder / paths.INFO).write_text(json.dumps(info))
    assert "featureColumns are not those" in refusal(own)


@pytest.mark.parametrize("name", ["part-\x1b[31m\n.parquet", "part-\udcff.parquet", "part-\u202e"])
def test_names_of_files_cannot_drive_the_terminal(own: MadeBundle, sample: MadeBundle, name: str) -> None:
    for made in (own, sample):
        (made.folder / FOREST_DATA / name).write_bytes(b"x")
        line = refusal(made)
        assert "mlModel/data/part-" in line
        assert name not in line


def test_a_folder_of_too_many_files_is_refused(sample: MadeBundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_FILES", 3)
    assert "more than 3 files" in refusal(sample)


# --- what unpacks to too much ---------------------------------------------------------------------------------------


def undecoded(monkeypatch: pytest.MonkeyPatch) -> None:
    """From here on no table is decoded without notice."""

    def read(*args: object, **named: object) -> None:
        raise AssertionError("a table was decoded before its size was known")

    monkeypatch.setattr(parquet_tables, "_read", read)


def set_forest(made: MadeBundle, table: pa.Table) -> Path:
    shutil.rmtree(made.folder / FOREST_DATA)
    return write_table(made.folder / FOREST_DATA, table)


def one_long_list() -> pa.Table:
    """A node that counts one class 12 million times: some hundred bytes of Parquet."""
    n = 12_000_000
    counts = pa.ListArray.from_arrays(pa.array([0, n], pa.int32()), pa.array(np.ones(n)))
    return pa.table({"treeID": [0], "nodeData": pa.StructArray.from_arrays([counts], ["impurityStats"])})


def repeated_rows(made: MadeBundle, n: int) -> pa.Table:
    node = pq.read_table(part(made.folder / FOREST_DATA)).slice(0, 1)
    return node.take(pa.array(np.zeros(n, dtype=np.int64)))


def test_repeated_rows_are_counted_before_they_are_decoded(sample: MadeBundle, monkeypatch: pytest.MonkeyPatch) -> None:
    file = set_forest(sample, repeated_rows(sample, 700_000))
    assert file.stat().st_size < 100_000
    undecoded_forest(monkeypatch)
    assert f"{FOREST_DATA}/{file.name} in" in (line := refusal(sample))
    assert "unpacks to more than 67,108,864 bytes" in line


def undecoded_forest(monkeypatch: pytest.MonkeyPatch) -> None:
    read = parquet_tables._read

    def guarded(piece: Any, *args: Any) -> Any:
        assert not piece.name.startswith(FOREST_DATA), "the forest was decoded before its size was known"
        return read(piece, *args)

    monkeypatch.setattr(parquet_tables, "_read", guarded)


@pytest.mark.parametrize("is_honest", [True, False], ids=["an honest footer", "a footer that says less"])
def test_a_list_of_millions_is_counted_in_its_pages(
    sample: MadeBundle, monkeypatch: pytest.MonkeyPatch, is_honest: bool
) -> None:
    file = set_forest(sample, one_long_list())
    assert file.stat().st_size < 5_000
    if not is_honest:
        file.write_bytes(with_smaller_footer(file.read_bytes(), 12_000_000))
        assert pq.ParquetFile(file).metadata.row_group(0).column(1).num_values < 10_000_000
    undecoded_forest(monkeypatch)
    assert "unpacks to more than" in refusal(sample)


def with_smaller_footer(data: bytes, number: int) -> bytes:
    """The same pages below a footer that counts fewer values: Thrift's whole numbers, of as many bytes."""
    size = struct.unpack("<I", data[-8:-4])[0]
    footer = data[-8 - size : -8]
    assert varint(number) in footer
    return data[: -8 - size] + footer.replace(varint(number), varint(number // 8 | 1 << 20)) + data[-8:]


def varint(number: int) -> bytes:
    number, encoded = number << 1, b""
    while number > 127:
        encoded, number = encoded + bytes([number & 127 | 128]), number >> 7
    return encoded + bytes([number])


def test_a_long_text_that_is_named_often_is_counted(sample: MadeBundle) -> None:
    shutil.rmtree(indexer(sample, 1) / "data")
    write_table(indexer(sample, 1) / "data", pa.table({"labels": [["x" * 100_000] * 5_000]}))
    assert "unpacks to texts of more than" in refusal(sample)


@pytest.mark.parametrize("n_rows", [0, 2, 3_000_000])
def test_rows_are_counted_where_one_is_wanted(sample: MadeBundle, monkeypatch: pytest.MonkeyPatch, n_rows: int) -> None:
    shutil.rmtree(indexer(sample) / "data")
    column = pa.ListArray.from_arrays(pa.array(np.zeros(n_rows + 1, dtype=np.int32)), pa.array([], pa.string()))
    write_table(indexer(sample) / "data", pa.table({"labels": column}))
    undecoded(monkeypatch)
    assert f"00_StringIndexerModel_4a0/data in {sample.folder} has {n_rows} rows, wanted 1" in refusal(sample)


# --- anything at all ------------------------------------------------------------------------------------------------


def spoilt(data: bytes, chance: random.Random) -> bytes:
    """The bytes with some of them changed, cut, repeated or left out."""
    if not data:
        return b"\0"
    at, to = sorted(chance.randrange(len(data)) for _ in range(2))
    changed = bytearray(data)
    for _ in range(chance.randint(1, 4)):
        changed[chance.randrange(len(data))] = chance.randrange(256)
    return chance.choice([bytes(changed), bytes(changed), data[:at], data[:at] + data[to:], data[:to] + data[at:]])


def test_a_file_that_is_spoilt_at_random_is_read_or_refused_in_one_line(
    originals: dict[bool, MadeBundle], tmp_path: Path
) -> None:
    made, chance = copied(originals[True], tmp_path / "spoilt"), random.Random(11)
    files = sorted(file for file in made.folder.rglob("*") if file.is_file() and not file.name.startswith("_"))
    for _ in range(N_CASES):
        file = chance.choice(files)
        data = file.read_bytes()
        file.write_bytes(spoilt(data, chance))
        assert (refused_line(made.folder) or "").isprintable()
        file.write_bytes(data)


def refused_line(folder: Path) -> str | None:
    """The line that refuses a bundle, if it is refused."""
    try:
        load_bundle(folder)
    except ArtefactError as error:
        return str(error)
    return None
