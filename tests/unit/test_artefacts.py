"""Artefacts are read within bounds, migrated and typed; whatever is wrong with one is a single line."""

from __future__ import annotations

import contextlib
import json
import pickle
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given

from artefact_files import PUBLIC_SAMPLE_INFO, made_up_info, made_up_metrics, made_up_quality
from loadcast.artefacts import document
from loadcast.artefacts.document import Artefact
from loadcast.artefacts.info import Info
from loadcast.artefacts.metrics import Metrics
from loadcast.artefacts.quality import Quality
from loadcast.errors import ArtefactError
from loadcast.kernels.labels import Bounds

KINDS: list[tuple[type[Artefact], Callable[[], dict[str, Any]]]] = [
    (Info, made_up_info),
    (Metrics, made_up_metrics),
    (Quality, made_up_quality),
]
every_kind = pytest.mark.parametrize(("kind", "old"), KINDS, ids=lambda value: getattr(value, "__name__", ""))


def refused(kind: type[Artefact], data: bytes) -> str:
    """The message for these bytes, which is one line that drives no terminal, and says what to do."""
    with pytest.raises(ArtefactError) as caught:
        kind.parse(data, "run/\x1b[31mfile")
    message = str(caught.value)
    assert message.isprintable()
    assert message.startswith(r"run/\x1b[31mfile cannot be read: ")
    assert len(message) < 600
    return message


@every_kind
def test_what_is_written_is_read_back(kind: type[Artefact], old: Callable[[], dict[str, Any]], tmp_path: Path) -> None:
    artefact = kind.parse(json.dumps(old()).encode(), "old")
    artefact.write(tmp_path)
    assert kind.read(tmp_path) == artefact
    assert json.loads((tmp_path / kind.FILE).read_bytes())["formatVersion"] == kind.VERSION


@every_kind
def test_a_new_file_is_written_beside_the_link_of_an_older_run(
    kind: type[Artefact], old: Callable[[], dict[str, Any]], tmp_path: Path
) -> None:
    (tmp_path / "older").write_bytes(b"kept")
    (tmp_path / kind.FILE).hardlink_to(tmp_path / "older")
    kind.parse(json.dumps(old()).encode(), "old").write(tmp_path)
    assert (tmp_path / "older").read_bytes() == b"kept"


@every_kind
def test_unknown_fields_of_the_same_version_are_kept(kind: type[Artefact], old: Callable[[], dict[str, Any]]) -> None:
    more = {"formatVersion": kind.VERSION, "featureSet": {"name": "classic", "version": 1}}
    plain = {name: value for name, value in old().items() if name != "version"}
    assert kind.parse(json.dumps({**plain, **more}).encode(), "new").document() == {**plain, **more}


@every_kind
def test_a_newer_format_names_the_loadcast_that_is_needed(
    kind: type[Artefact], old: Callable[[], dict[str, Any]]
) -> None:
    newer = {**old(), "formatVersion": kind.VERSION + 1, "versions": {"loadcast": "9.1.0"}}
    message = refused(kind, json.dumps(newer).encode())
    assert f"its formatVersion is {kind.VERSION + 1}, and this loadcast knows up to {kind.VERSION}" in message
    assert "Install loadcast 9.1.0 or newer" in message
    newer.pop("versions")
    assert "the loadcast that its run's info names" in refused(kind, json.dumps(newer).encode())


@pytest.mark.parametrize("version", [-1, 1.0, True, "2", None, [], "\x1b" * 1000])
def test_a_version_that_cannot_be_is_refused(version: object) -> None:
    assert "found formatVersion" in refused(Info, json.dumps(made_up_info(formatVersion=version)).encode())


@every_kind
def test_every_older_format_is_read(kind: type[Artefact], old: Callable[[], dict[str, Any]]) -> None:
    plain = {name: value for name, value in old().items() if name != "version"}
    for version in range(kind.FIRST, kind.VERSION + 1):
        artefact = kind.parse(json.dumps({**plain, "formatVersion": version}).encode(), "old")
        assert artefact.document() == {**plain, "formatVersion": kind.VERSION}


def test_info_before_labels_had_a_part_has_the_configured_bounds_for_all_servers() -> None:
    rule = Info.parse(json.dumps(made_up_info()).encode(), "old").label_rule
    assert (rule.name, rule.common, rule.of_server) == ("absolute", Bounds(200.0, 500.0, "configured"), {})


@every_kind
@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "it is not JSON"),
        (b"\xff\xfe", "it is not JSON"),
        (b"{", "it is not JSON"),
        (b"[]", "found a list, wanted a JSON object"),
        (b"null", "found a NoneType"),
        (b"[" * 100_000, "nested deeper than 32"),
        (b'{"a": ' * 33 + b"1" + b"}" * 33, "nested deeper than 32"),
        (b'{"a": NaN}', "holds NaN"),
        (b'{"a": -Infinity}', "holds -Infinity"),
        (b'{"a": 1e999}', "a number too large"),
        (b'{"a": ' + b"9" * 101 + b"}", "a number of 101 digits"),
        (b'{"rows": 1, "rows": 2}', "the key 'rows' stands in it twice"),
        (b'{"a": {"\\u001b[31m": 1, "\\u001b[31m": 2}}', "stands in it twice"),
        (b'{"' + b"x" * 1000 + b'": 1, "' + b"x" * 1000 + b'": 2}', "stands in it twice"),
        (b'{"a": "\x00"}', "it is not JSON"),
        (b"{}", ""),
    ],
)
def test_hostile_bytes_are_one_line(kind: type[Artefact], old: object, data: bytes, said: str) -> None:
    assert said in refused(kind, data)


def test_what_is_too_large_is_not_read_to_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(document, "MAX_BYTES", 100)
    (tmp_path / Info.FILE).write_bytes(b" " * 101)
    with pytest.raises(ArtefactError, match="info cannot be read: it is larger than 100 bytes"):
        Info.read(tmp_path)


@pytest.mark.parametrize("make", [lambda path: None, Path.mkdir], ids=["missing", "folder"])
def test_what_is_no_file_is_one_line(tmp_path: Path, make: Callable[[Path], None]) -> None:
    make(tmp_path / Info.FILE)
    with pytest.raises(ArtefactError, match=r"info cannot be read: .* Run ETL and training again"):
        Info.read(tmp_path)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"trainBegin": "2016-06-31 00:00:00"}, "trainBegin: Value error, wanted a time that exists"),
        ({"trainBegin": 7}, "trainBegin: Value error, wanted a time"),
        ({"lowThreshold": "100"}, "lowThreshold: Input should be a valid number"),
        ({"lowThreshold": True}, "lowThreshold: Input should be a valid number"),
        ({"files": {"mlModel/\x1b[31m": 5}}, r"files.mlModel/\x1b[31m: Input should be a valid string"),
        ({"files": ["a"]}, "files: Input should be a valid dictionary"),
        ({"trainPeriod": {"from": "2016-06-01 00:00:00"}}, "trainPeriod.to: Field required"),
        ({"featureColumns": "abc"}, "featureColumns: Input should be a valid list"),
    ],
)
def test_a_wrong_field_is_named(change: dict[str, Any], said: str) -> None:
    assert said in refused(Info, json.dumps(made_up_info(**change)).encode())


@pytest.mark.parametrize("field", [*made_up_info()])
def test_no_field_that_a_run_needs_may_be_missing(field: str) -> None:
    info = made_up_info()
    del info[field]
    assert f"{field}: Field required" in refused(Info, json.dumps(info).encode())


def test_the_settings_of_the_forest_appear_once_it_is_trained() -> None:
    info = Info.parse(json.dumps(made_up_info()).encode(), "info")
    assert "forest" not in info.document()
    assert info.model_copy(update={"forest": {"numTrees": 4}}).document()["forest"] == {"numTrees": 4}


# --- the public sample's pickle -------------------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", range(6))
def test_the_public_samples_pickle_becomes_an_info(protocol: int) -> None:
    info = Info.parse(pickle.dumps(PUBLIC_SAMPLE_INFO, protocol), "info")
    assert (info.train_begin, info.low_threshold, info.timezone) == (datetime(2016, 6, 1), 100.0, "UTC")
    assert (info.column_only_indexed, info.column_for_encode) == (["year", "month"], ["dayofweek", "ServerIP"])
    assert info.feature_columns[:5] == [
        "linearTrend",
        "year_indexed",
        "month_indexed",
        "dayofweek_indexed_encoded",
        "ServerIP_indexed_encoded",
    ]
    assert info.train_period.end == datetime(2016, 6, 28, 23, 59, 59)
    assert Info.parse(info.encoded(), "info") == info


def test_the_public_samples_info_is_the_same_as_json() -> None:
    pickled = Info.parse(pickle.dumps(PUBLIC_SAMPLE_INFO), "info")
    assert Info.parse(json.dumps(PUBLIC_SAMPLE_INFO).encode(), "info") == pickled
    assert (pickled.is_of_public_sample, pickled.features.plain) == (True, ("linearTrend",))


@pytest.mark.parametrize("data", [b"\x80\x04.", b"\x80\x04cos\nsystem\n."])
def test_a_pickle_that_cannot_be_read_is_named(data: bytes) -> None:
    with pytest.raises(ArtefactError, match=r"^Model/info, a pickle, is not read: .* Run ETL and training anew"):
        Info.parse(data, "Model/info")


@pytest.mark.parametrize(
    "change",
    [{"duration": "x"}, {"duration": ["x"]}, {"trainBegin": 5}, {"columnForEncode": 5}, {"columnForEncode": [5]}],
)
def test_another_pickle_is_refused(change: dict[str, Any]) -> None:
    assert "without the fields of the public sample's info" in refused(
        Info, pickle.dumps({**PUBLIC_SAMPLE_INFO, **change})
    )


# --- anything at all ------------------------------------------------------------------------------------------------

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)


@every_kind
@given(data=st.data())
def test_a_spoilt_value_is_read_or_one_line(
    kind: type[Artefact], old: Callable[[], dict[str, Any]], data: st.DataObject
) -> None:
    spoilt = old()
    spoilt[data.draw(st.sampled_from(sorted(spoilt)))] = data.draw(values)
    with contextlib.suppress(ArtefactError):
        artefact = kind.parse(json.dumps(spoilt).encode(), "x")
        assert kind.parse(artefact.encoded(), "x") == artefact


@every_kind
@given(data=st.binary(max_size=60))
def test_any_bytes_are_read_or_one_line(kind: type[Artefact], old: object, data: bytes) -> None:
    with contextlib.suppress(ArtefactError):
        kind.parse(b"{" + data, "x")
