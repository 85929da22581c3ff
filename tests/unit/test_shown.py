"""How addresses and paths are shown: no secret, no sign that drives a terminal, one line, not too long."""

from __future__ import annotations

import base64
import os
import pickle
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadcast.errors import ArtefactError, ConfigError, LoadcastError, RequestError
from loadcast.secrets import shown, without_secrets
from loadcast.serving.bundle import load_bundle

KEY = base64.b64encode(bytes(range(64))).decode()
HOST = "account.blob.core.windows.net"


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (f"htps://{HOST}/c/x?sv=1&sig=abc", f"htps://{HOST}/c/x?…"),
        (f"htps:/{HOST}/c/x?sv=1&sig=abc", f"htps:/{HOST}/c/x?…"),
        (f"https://{HOST}/c?token=abc and more", f"https://{HOST}/c?… and more"),
        ("sv=1&sig=abc&x=y", "sv=1&sig=REDACTED&x=y"),
        ("%26sig%253Dabc%2Fd", "%26sig%253DREDACTED"),
        (f"the key {KEY}.", "the key REDACTED."),
        (f"{KEY}/info", "REDACTED/info"),
        (f"AccountName=a;AccountKey={KEY[:20]};X=y", "AccountName=a;AccountKey=REDACTED;X=y"),
        ("https://user:pass@host/x", "https://…@host/x"),
        ("https://user:pa/ss@wo@host/x", "https://…@host/x"),
        ("https://token@host/x", "https://…@host/x"),
        (f"wsab://data:pass@{HOST}", f"wsab://…@{HOST}"),
    ],
)
def test_secrets_are_left_out(text: str, wanted: str) -> None:
    assert shown(text) == without_secrets(text) == wanted


@pytest.mark.parametrize(
    "text",
    [
        f"wasbs://data@{HOST}/2016/[0-9]?/x.csv",
        f"abfss://data@{HOST.replace('blob', 'dfs')}/2016/*",
        "http://localhost:5000/a@2x.png",
        "/data/warehouse/sessions/region/europe/west/one/year=2016/month=06/x.csv",
        "/data/warehouse/sessions/region/europe/west/one/year=*/month=*",
        "data/2016/?/request.csv",
        "k8s://https://host:443, spark://host:7077, file:///a/b@c/x",
        "design=1, config.sig, sha-256 " + "a1" * 32,
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    assert shown(text) == text


@given(st.text() | st.text(st.characters(categories=["Cc", "Cf", "Cs", "Zl", "Zp"])))
def test_whatever_is_shown_is_one_printable_line(text: str) -> None:
    assert shown(text).isprintable()
    assert shown(shown(text)) == shown(text)
    shown(text).encode()
    assert str(ConfigError(text, text)).split("\n") == [shown(text, 4_000)] * 2


def test_bytes_that_are_not_utf_8_are_shown_as_such() -> None:
    assert shown(os.fsdecode(b"a\xff\n.csv")) == r"a\xff\n.csv"
    assert shown(Path("a\x1b[2J")) == r"a\x1b[2J"


@pytest.mark.parametrize(
    "part", ["x", "?", "a:/", "a:/?", "sig=", "https://a:", "A" * 50 + "=", "%25", "AccountKey ", " "]
)
def test_long_texts_are_shown_short(part: str) -> None:
    assert len(shown(part * (1_000_000 // len(part)))) <= 500


def test_errors_travel_between_processes_with_all_their_lines() -> None:
    for error in (ConfigError("one", "  two"), RequestError("one", [{"record": 1}])):
        travelled = pickle.loads(pickle.dumps(error))
        assert (type(travelled), str(travelled)) == (type(error), str(error))
    assert pickle.loads(pickle.dumps(RequestError("one", [{"record": 1}]))).problems == [{"record": 1}]
    assert str(LoadcastError()) == ""


def test_a_bundle_s_errors_show_no_control_characters(tmp_path: Path) -> None:
    folder = tmp_path / "a\nb"
    (folder / "mlModel").mkdir(parents=True)
    (folder / "mlModel" / "c\x1b[2Jd").write_text("x")
    for content in ("{", '{"files": {}}', '{"files": {"\\u001b/../x": ""}}'):
        (folder / "info").write_text(content)
        with pytest.raises(ArtefactError) as caught:
            load_bundle(folder)
        assert str(caught.value).isprintable()
        assert r"a\nb" in str(caught.value)
