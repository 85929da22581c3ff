"""Reading a bundle: what loads, and what is refused. These are written without Spark; tests/spark reads Spark's own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import classic
from bundles import levels_of, random_features, write_bundle, write_info
from loadcast import paths
from loadcast.artefacts.info import Info
from loadcast.errors import ArtefactError
from loadcast.models import parquet_tables
from loadcast.serving import bundle as module
from loadcast.serving.bundle import load_bundle
from loadcast.serving.predictor import Predictor
from loadcast.storage.checksum import data_files, sha256_of_files
from reference import feature_matrix

ROWS = random_features(200)
FOREST_DATA = f"{paths.FOREST_MODEL}/data"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bundle(tmp_path_factory.mktemp("made") / "bundle", ROWS)


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "bundle"))


def info_of(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / paths.INFO).read_text()))


def relist(folder: Path, **changes: Any) -> None:
    """Write `info` anew over the changed files, so that only what they hold can be the fault."""
    info = info_of(folder)
    write_info(folder, tuple(info["columnOnlyIndexed"]), tuple(info["columnForEncode"]), **changes)


def some_part(folder: Path, of: str = FOREST_DATA) -> Path:
    return sorted((folder / of).glob("part-*"))[0]


def change_metadata(folder: Path, part: str, **changes: Any) -> None:
    file = some_part(folder, f"{part}/metadata")
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


def refused(folder: Path, reason: str) -> None:
    with pytest.raises(ArtefactError, match=reason):
        load_bundle(folder)


def test_a_bundle_loads_with_its_levels_scaler_and_forest(folder: Path) -> None:
    bundle = load_bundle(folder)
    history = np.column_stack([ROWS.column(name).to_numpy() for name in classic.HISTORY_COLUMNS])
    std = history.std(axis=0, ddof=1)
    assert dict(bundle.encoders.levels) == levels_of(ROWS)
    assert bundle.encoders.mean.tolist() == history.mean(axis=0).tolist()
    assert bundle.encoders.scale.tolist() == [1.0 / value if value else 0.0 for value in std.tolist()]
    assert bundle.model.forest.n_trees == 5
    assert feature_matrix(ROWS, bundle.encoders).shape[1] == bundle.model.n_features


def test_the_layout_of_spark_3_5_loads_to_the_same_model(folder: Path, tmp_path: Path) -> None:
    old = write_bundle(tmp_path / "old", ROWS, spark_version="3.5.1")
    assert Predictor.load(old).predict(ROWS) == Predictor.load(folder).predict(ROWS)


def test_a_bundle_without_spark_s_hidden_files_loads(folder: Path) -> None:
    for file in [*folder.rglob("_SUCCESS"), *folder.rglob(".*")]:
        file.unlink()
    assert load_bundle(folder).model.forest.n_trees == 5


def test_an_output_folder_leads_to_its_current_model(made: Path, tmp_path: Path) -> None:
    shutil.copytree(made, tmp_path / paths.RUNS / "one")
    (tmp_path / paths.MODEL).symlink_to(Path(paths.RUNS) / "one")
    assert load_bundle(tmp_path).folder == (tmp_path / paths.RUNS / "one").resolve()


def test_a_link_that_moves_while_reading_changes_nothing(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("one", "two"):
        shutil.copytree(made, tmp_path / name)
    link = tmp_path / paths.MODEL
    link.symlink_to("one")
    parse = Info.parse

    def publish_then_parse(data: bytes, shown: str) -> Info:
        link.unlink()
        link.symlink_to("two")
        shutil.rmtree(tmp_path / "two" / paths.FOREST_MODEL)
        return parse(data, shown)

    monkeypatch.setattr(Info, "parse", publish_then_parse)
    assert load_bundle(tmp_path).folder.name == "one"


def test_files_of_the_run_that_the_service_does_not_need_stay_unread(folder: Path) -> None:
    info = info_of(folder)
    info["files"][f"{paths.PREDICTIONS}/part-0.parquet"] = "0" * 64
    (folder / paths.INFO).write_text(json.dumps(info))
    assert load_bundle(folder).model.forest.n_trees == 5


@pytest.mark.parametrize("name", ["nothing", "empty"])
def test_a_folder_without_a_bundle_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    refused(tmp_path / name, "no model|cannot be read")


def test_a_model_link_that_leads_nowhere_is_refused(tmp_path: Path) -> None:
    (tmp_path / paths.MODEL).symlink_to("gone")
    refused(tmp_path, "no model")


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '"x"', "[" * 100_000, "\xff"])
def test_an_info_that_is_no_object_is_refused(folder: Path, text: str) -> None:
    (folder / paths.INFO).write_bytes(text.encode("latin-1"))
    refused(folder, "is not JSON|wanted a JSON object|nested deeper")


@pytest.mark.parametrize("files", [None, [], "x", {str(i): "" for i in range(10_001)}])
def test_an_info_without_checksums_is_refused(folder: Path, files: object) -> None:
    relist(folder, files=files)
    refused(folder, "files: Input should be|more than 10,000 files")


@pytest.mark.parametrize("of", [FOREST_DATA, f"{paths.SCALE_MODEL}/metadata", f"{paths.STRING_INDEX_MODEL}/metadata"])
def test_a_changed_file_is_refused(folder: Path, of: str) -> None:
    file = some_part(folder, of)
    data = bytearray(file.read_bytes())
    data[-10] ^= 1
    file.write_bytes(data)
    refused(folder, "was changed after training")


def test_a_changed_metrics_file_is_refused(folder: Path) -> None:
    (folder / paths.METRICS).write_text('{"accuracy": 1.0}')
    refused(folder, "was changed after training")


def test_a_missing_file_is_refused(folder: Path) -> None:
    some_part(folder).unlink()
    refused(folder, "cannot be read")


def test_an_unlisted_model_file_is_refused(folder: Path) -> None:
    (folder / FOREST_DATA / "part-00009.parquet").write_bytes(b"")
    refused(folder, "does not list: mlModel/data/part-00009.parquet")


@pytest.mark.parametrize("name", ["../x", "/etc/hostname", "mlModel/../../x", "a\\b", "a\0b", ""])
def test_a_listed_path_outside_the_folder_is_refused(folder: Path, name: str) -> None:
    relist(folder, files={**info_of(folder)["files"], name: "0" * 64})
    refused(folder, "no path inside the folder")


def test_a_link_out_of_the_folder_is_refused(folder: Path, tmp_path: Path) -> None:
    file = some_part(folder)
    outside = tmp_path / "outside"
    shutil.move(file, outside)
    file.symlink_to(outside)
    refused(folder, "leads outside it")


def test_a_pipe_in_place_of_a_file_is_refused(folder: Path) -> None:
    file = some_part(folder)
    file.unlink()
    os.mkfifo(file)
    refused(folder, "no plain file")


@pytest.mark.parametrize("limit", ["MAX_FILE_BYTES", "MAX_BUNDLE_BYTES"])
def test_absurd_sizes_are_refused(folder: Path, monkeypatch: pytest.MonkeyPatch, limit: str) -> None:
    monkeypatch.setattr(module, limit, 1000)
    refused(folder, "is larger than")


def test_a_table_that_unpacks_to_too_much_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet_tables, "MAX_TABLE_BYTES", 10)
    refused(folder, "unpacks to more")


@pytest.mark.parametrize("data", [b"", b"PAR1", b"PAR1" + b"\0" * 100 + b"PAR1", b"not parquet at all"])
def test_a_broken_parquet_part_is_refused(folder: Path, data: bytes) -> None:
    some_part(folder).write_bytes(data)
    relist(folder)
    refused(folder, "is not in the form that Spark ML")


def test_a_parquet_part_with_other_columns_is_refused(folder: Path) -> None:
    for file in (folder / FOREST_DATA).glob("part-*"):
        pq.write_table(pa.table({"x": [1]}), file)
    relist(folder)
    refused(folder, "is not in the form that Spark ML")


@pytest.mark.parametrize("text", ["", "{", "[]", "[" * 100_000, '{"class": 3}'])
def test_broken_metadata_is_refused(folder: Path, text: str) -> None:
    some_part(folder, f"{paths.FOREST_MODEL}/metadata").write_text(text)
    relist(folder)
    refused(folder, "metadata in .* is not JSON|wanted a RandomForestClassificationModel")


@pytest.mark.parametrize(
    ("part", "changes", "reason"),
    [
        (paths.FOREST_MODEL, {"class": "org.apache.spark.ml.classification.GBTClassificationModel"}, "holds .*GBT"),
        (paths.FOREST_MODEL, {"numClasses": 3}, "numClasses is 3, wanted 4"),
        (paths.FOREST_MODEL, {"numFeatures": 3}, "numFeatures is 3"),
        (paths.FOREST_MODEL, {"numTrees": 99}, "numTrees is 5, wanted 99"),
        (paths.FOREST_MODEL, {"paramMap": {"thresholds": [0, 1, 1, 1]}}, "thresholds"),
        (paths.SCALE_MODEL, {"paramMap": {"withMean": "no", "withStd": True}}, "by true or false"),
        (paths.STRING_INDEX_MODEL, {"paramMap": {"stageUids": []}}, "0 stages, wanted 1"),
        (paths.STRING_INDEX_MODEL, {"paramMap": {"stageUids": ["../x"]}}, "has no stringIndexModel/stages"),
        (f"{paths.STRING_INDEX_MODEL}/stages/0_Stage_1", {"paramMap": {}}, "as many input columns as output columns"),
        (
            f"{paths.STRING_INDEX_MODEL}/stages/0_Stage_1",
            {"paramMap": {"inputCol": "year", "outputCol": "x", "handleInvalid": "guess"}},
            "has 'guess' for handleInvalid, wanted keep or skip or error",
        ),
        (f"{paths.ONE_HOT_MODEL}/stages/0_Stage_1", {"paramMap": {"dropLast": False}}, "as many input columns as"),
        (
            f"{paths.ONE_HOT_MODEL}/stages/0_Stage_1",
            {"paramMap": {"inputCol": "x", "outputCol": "y"}},
            "encodes x, which stringIndexModel has not",
        ),
    ],
)
def test_a_stage_that_computes_something_else_is_refused(
    folder: Path, part: str, changes: dict[str, Any], reason: str
) -> None:
    change_metadata(folder, part, **changes)
    relist(folder)
    refused(folder, reason)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"featureColumns": ["x"]}, "featureColumns are not those"),
        ({"featureColumns": None}, "featureColumns: Input should be a valid list"),
        ({"columnOnlyIndexed": [1]}, "columnOnlyIndexed.0: Input should be a valid string"),
        ({"columnOnlyIndexed": []}, "wanted each of"),
    ],
)
def test_an_info_that_does_not_fit_the_model_is_refused(folder: Path, changes: dict[str, Any], reason: str) -> None:
    relist(folder, **changes)
    refused(folder, reason)


def test_a_model_of_other_labels_is_refused(folder: Path) -> None:
    for file in (folder / FOREST_DATA).glob("part-*"):
        rows = pq.read_table(file)
        changed = rows.to_pylist()
        for row in changed:
            row["nodeData"]["impurityStats"][0] = 1.0
        pq.write_table(pa.Table.from_pylist(changed, rows.schema), file)
    relist(folder)
    refused(folder, "labels other than")


def test_loading_and_predicting_need_neither_spark_nor_pandas_nor_pickle(made: Path) -> None:
    # pyarrow imports pandas by itself where it is installed; here it is not to be found.
    code = (
        "import sys\n"
        "class Absent:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name in ('pyspark', 'py4j', 'pandas'):\n"
        "            raise ModuleNotFoundError(name)\n"
        "sys.meta_path.insert(0, Absent())\n"
        "sys.path.insert(0, 'tests/support')\n"
        "from bundles import random_features, records\n"
        "from loadcast.serving.api import init, run\n"
        f"init({str(made)!r})\n"
        "print(len(run(records(random_features(3)))))"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, timeout=60)
    assert (done.stdout.strip(), done.stderr) == ("3", "")
    sources = [file.read_text() for file in Path(module.__file__).parent.glob("*.py")]
    assert not any("import pickle" in text for text in sources)


def test_checksums_cover_data_files_only(tmp_path: Path) -> None:
    for name in (
        "a/part-0",
        "a/_SUCCESS",
        "a/.part-0.crc",
        "a/_temporary/part-1",
        "a/b/c.txt",
        "metrics.json",
        "other",
    ):
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("abc")
    names = ("a", "metrics.json", "absent")
    assert data_files(tmp_path, names) == ["a/b/c.txt", "a/part-0", "metrics.json"]
    digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert sha256_of_files(tmp_path, names) == dict.fromkeys(data_files(tmp_path, names), digest)
