"""How a container is entered, and what becomes of the secrets."""

from __future__ import annotations

import base64
import logging
import pickle
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from azure.core.exceptions import ClientAuthenticationError

from loadcast.errors import ConfigError, InputError
from loadcast.references import read_reference
from loadcast.secrets import redacted
from loadcast.storage.blob import credentials
from loadcast.storage.blob.access import ANONYMOUS, Access
from loadcast.storage.blob.container import Container
from loadcast.storage.blob.credentials import resolve_access
from loadcast.storage.blob.location import BlobLocation
from loadcast.storage.blob.redaction import quiet_loggers

AZURE = BlobLocation("https://acct.blob.core.windows.net", "logs")
EMULATOR = BlobLocation("http://127.0.0.1:10000/devstoreaccount1", "logs")
KEY = base64.b64encode(b"no real key, but as long as one " * 2).decode()
SIGNATURE = "bm90LWEtc2lnbmF0dXJl"
SAS = f"sv=2024-11-04&sr=c&sp=rl&se=2030-01-01T00%3A00%3A00Z&sig={SIGNATURE}%3D"


@pytest.fixture
def no_login(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(credentials, "_has_token", lambda: False)


def given(monkeypatch: pytest.MonkeyPatch, secret: str) -> str:
    monkeypatch.setenv("BLOB_SECRET", secret)
    return "env:BLOB_SECRET"


# --- references -----------------------------------------------------------------------------------------------------


def test_a_reference_to_the_environment_or_a_file_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert read_reference(given(monkeypatch, f" {KEY}\n"), "storageKey") == KEY
    (tmp_path / "key").write_text(f"\ufeff{KEY}\r\n", encoding="utf-8")
    assert read_reference(f"file:{tmp_path / 'key'}", "storageKey") == KEY


def test_a_file_in_the_home_folder_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "key").write_text(KEY)
    assert read_reference("file:~/key", "storageKey") == KEY


@pytest.mark.parametrize(
    ("content", "wanted"),
    [(b"", "the file is empty"), (b"\xff\xfe\x00", "not UTF-8"), (b"A" * (1 << 20), "more than 16 KB")],
)
def test_a_file_that_is_no_secret_is_refused(tmp_path: Path, content: bytes, wanted: str) -> None:
    (tmp_path / "key").write_bytes(content)
    with pytest.raises(ConfigError, match=wanted):
        read_reference(f"file:{tmp_path / 'key'}", "storageKey")


def test_a_folder_or_nothing_is_no_file_with_a_secret(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        read_reference(f"file:{tmp_path}", "storageKey")
    with pytest.raises(ConfigError, match="cannot be read"):
        read_reference(f"file:{tmp_path}/none", "storageKey")
    with pytest.raises(ConfigError, match="cannot be read"):
        read_reference("file:a\0b", "storageKey")


def test_an_endless_file_is_not_read_to_its_end() -> None:
    with pytest.raises(ConfigError, match="more than 16 KB"):
        read_reference("file:/dev/zero", "storageKey")


def test_a_variable_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_SUCH_KEY", raising=False)
    with pytest.raises(ConfigError, match="env:NO_SUCH_KEY"):
        read_reference("env:NO_SUCH_KEY", "storageKey")


@pytest.mark.parametrize("reference", [KEY, f"AccountKey={KEY}", "env:", "file:", "", "vault:x"])
def test_the_key_itself_in_place_of_a_reference_is_not_echoed(reference: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_reference(reference, "storageKey")
    assert KEY not in str(caught.value)


# --- what a secret is -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", [SAS, f"?{SAS}", f"https://acct.blob.core.windows.net/logs?{SAS}", f"{SAS}&"])
def test_a_sas_is_known_however_it_was_copied(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    assert resolve_access(AZURE, given(monkeypatch, text), None) == Access("sas", SAS)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (KEY, Access("key", KEY)),
        (f"AccountName=acct;AccountKey={KEY};EndpointSuffix=core.windows.net", Access("key", KEY)),
        (f"DefaultEndpointsProtocol=https;AccountName=acct;AccountKey={KEY};"
         "BlobEndpoint=https://acct.blob.core.windows.net/;", Access("key", KEY)),
        (f"BlobEndpoint=https://acct.blob.core.windows.net/;SharedAccessSignature={SAS}", Access("sas", SAS)),
    ],
)  # fmt: skip
def test_keys_and_connection_strings_are_known(monkeypatch: pytest.MonkeyPatch, text: str, expected: Access) -> None:
    assert resolve_access(AZURE, given(monkeypatch, text), None) == expected


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("not base64!", "neither a key"),
        ("c2hvcnQ=", "neither a key"),
        ("se=1&sig=", "is not a SAS"),
        ("sv=1&sig=a b", "is not a SAS"),
        ("sv=1&sig=ü", "is not a SAS"),
        ("AccountName=acct;AccountKey=oops;", "neither a key"),
        (f"AccountName=other;AccountKey={KEY}", "another account than acct"),
        (f"AccountName=acct;AccountKey={KEY};BlobEndpoint=http://evil.example.org/acct", "another endpoint"),
        (f"AccountName=acct;AccountKey={KEY};BlobEndpoint=http://acct.blob.core.windows.net", "another endpoint"),
    ],
)
def test_what_is_no_secret_for_this_account_is_refused(monkeypatch: pytest.MonkeyPatch, text: str, wanted: str) -> None:
    with pytest.raises(ConfigError) as caught:
        resolve_access(AZURE, given(monkeypatch, text), None)
    message = str(caught.value)
    assert wanted in message
    assert "env:BLOB_SECRET" in message
    assert text not in message
    assert KEY not in message


def refuse_entry() -> None:
    raise ConfigError("refused")


def lose_network() -> None:
    raise InputError("no network")


# --- the order ------------------------------------------------------------------------------------------------------


def test_the_reference_goes_before_the_sas_of_the_url(monkeypatch: pytest.MonkeyPatch) -> None:
    assert resolve_access(AZURE, given(monkeypatch, KEY), SAS) == Access("key", KEY)


def test_the_sas_of_the_url_goes_before_a_login(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(credentials, "_has_token", lambda: pytest.fail("asked for a token"))
    assert resolve_access(AZURE, None, SAS) == Access("sas", SAS)


@pytest.mark.parametrize(
    ("let_in", "expected"),
    [
        ({"chain", "anonymous"}, Access("chain")),
        ({"chain"}, Access("chain")),
        (set(), Access("chain")),
        ({"anonymous"}, ANONYMOUS),  # a public container that knows nothing of this machine's identity
    ],
)
def test_a_login_goes_before_no_credentials(
    monkeypatch: pytest.MonkeyPatch, let_in: set[str], expected: Access
) -> None:
    monkeypatch.setattr(credentials, "_has_token", lambda: True)
    monkeypatch.setattr(credentials, "_is_let_in", lambda location, access: access.kind in let_in)
    assert resolve_access(AZURE, None, None) == expected


@pytest.mark.parametrize(
    ("answer", "let_in"),
    [(lambda: None, True), (refuse_entry, False), (lose_network, True)],
    ids=["yes", "no", "net"],
)
def test_only_a_refusal_says_that_one_is_not_let_in(
    monkeypatch: pytest.MonkeyPatch, answer: Callable[[], None], let_in: bool
) -> None:
    monkeypatch.setattr(Container, "stat", lambda self, name: answer())
    assert credentials._is_let_in(AZURE, ANONYMOUS) is let_in


@pytest.mark.usefixtures("no_login")
def test_without_anything_a_container_is_taken_for_public() -> None:
    assert resolve_access(AZURE, None, None) == ANONYMOUS


def test_no_token_is_asked_for_where_it_would_travel_in_the_clear(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(credentials, "_has_token", lambda: pytest.fail("asked for a token"))
    assert resolve_access(EMULATOR, None, None) == ANONYMOUS


class Chain:
    """Stands for Azure's chain of credentials."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer

    def get_token(self, *scopes: str) -> object:
        return self.answer()


def refuse() -> None:
    raise ClientAuthenticationError("no login anywhere")


def test_a_chain_without_a_login_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(credentials, "make_chain", lambda: Chain(refuse))
    assert resolve_access(AZURE, None, None) == ANONYMOUS


def test_a_chain_with_a_token_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(credentials, "make_chain", lambda: Chain(object))
    monkeypatch.setattr(credentials, "_is_let_in", lambda location, access: True)
    assert resolve_access(AZURE, None, None) == Access("chain")


def test_a_chain_that_does_not_answer_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(credentials, "CHAIN_TIMEOUT_S", 0.05)
    monkeypatch.setattr(credentials, "make_chain", lambda: Chain(lambda: time.sleep(1)))
    assert resolve_access(AZURE, None, None) == ANONYMOUS


# --- keeping secrets ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("access", [Access("key", KEY), Access("sas", SAS)])
def test_no_text_of_an_access_or_a_container_holds_its_secret(access: Access) -> None:
    container = Container(AZURE, access)
    for item in (access, container, [container], {"a": access}):
        for text in (repr(item), str(item), f"{item}"):
            assert KEY not in text
            assert SIGNATURE not in text


def test_containers_travel_to_other_processes() -> None:
    container = Container(AZURE, Access("key", KEY))
    assert pickle.loads(pickle.dumps(container)) == container


@pytest.mark.parametrize(
    "text",
    [
        f'GET /logs/a?{SAS} HTTP/1.1" 206',
        f"https://acct.blob.core.windows.net/logs?comp=list&{SAS}&x=1",
        f"url%3Fsp%3Drl%26sig%3D{SIGNATURE}",
        f"SIG={SIGNATURE}",
        f"Authorization: SharedKey acct:{SIGNATURE}",
        f"Authorization: Bearer {SIGNATURE}.{SIGNATURE}",
        f"AccountName=a;AccountKey={SIGNATURE};X=y",
    ],
)
def test_secrets_are_taken_out_of_texts(text: str) -> None:
    assert SIGNATURE not in redacted(text)
    assert "REDACTED" in redacted(text)


def test_other_texts_stay_as_they_are() -> None:
    text = "GET /logs/sig/design=1?comp=list&prefix=a HTTP/1.1"
    assert redacted(text) == text


@pytest.mark.parametrize("name", ["urllib3.connectionpool", "urllib3.util.retry"])
def test_what_urllib3_logs_holds_no_signature(name: str, caplog: pytest.LogCaptureFixture) -> None:
    quiet_loggers()
    quiet_loggers()
    assert len({id(each) for each in logging.getLogger(name).filters}) == len(logging.getLogger(name).filters)
    with caplog.at_level(logging.DEBUG):
        logging.getLogger(name).debug('%s "%s %s" %s', "https://h", "GET", f"/logs/a?{SAS}", 200)
        logging.getLogger(name).debug("bad %s %s", SIGNATURE[:0] + f"?{SAS}")
        try:
            raise OSError(f"/logs/a?{SAS}")
        except OSError:
            logging.getLogger(name).exception("failed")
    assert "sr=c" in caplog.text
    assert SIGNATURE not in caplog.text


def test_without_blobs_nothing_of_azure_is_imported() -> None:
    names = ["loadcast.storage.blob.location", "loadcast.storage.blob.access", "loadcast.storage.blob.names"]
    code = f"import sys, {', '.join(names)}; sys.exit(sum(name.startswith('azure') for name in sys.modules))"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
