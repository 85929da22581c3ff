"""Addresses of blobs, and patterns on their names."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from loadcast.errors import ConfigError, InputError
from loadcast.storage.blob.location import BlobLocation, check_name, parse_blob_url
from loadcast.storage.blob.names import fixed_prefix, matcher
from loadcast.storage.files import find_files
from loadcast.storage.remote import is_remote

AZURE = "https://acct.blob.core.windows.net"
EMULATOR = "http://127.0.0.1:10000/devstoreaccount1"
SAS = "sv=2024-11-04&sr=c&sig=a%2Fb%3D"


def parsed(text: str, endpoints: dict[str, str] | None = None) -> BlobLocation:
    location, sas = parse_blob_url(text, endpoints)
    assert sas is None
    return location


@pytest.mark.parametrize(
    ("url", "endpoint", "container", "path"),
    [
        ("wasb://logs@acct.blob.core.windows.net/a/b.csv", AZURE, "logs", "a/b.csv"),
        ("wasbs://logs@acct.blob.core.windows.net/", AZURE, "logs", ""),
        ("wasbs://logs@acct.blob.core.windows.net", AZURE, "logs", ""),
        ("WASBS://logs@ACCT.blob.core.windows.net/A", AZURE, "logs", "A"),
        ("abfs://logs@acct.dfs.core.windows.net/a", AZURE, "logs", "a"),
        ("abfss://logs@acct.dfs.core.windows.net//a", AZURE, "logs", "a"),
        ("abfss://logs@acct.blob.core.chinacloudapi.cn/a", "https://acct.blob.core.chinacloudapi.cn", "logs", "a"),
        ("abfss://logs@acct.z12.dfs.storage.azure.net/a", "https://acct.z12.blob.storage.azure.net", "logs", "a"),
        ("https://acct.blob.core.windows.net/logs/a/b.csv", AZURE, "logs", "a/b.csv"),
        ("https://acct.blob.core.windows.net/$root/a", AZURE, "$root", "a"),
        ("http://127.0.0.1:10000/devstoreaccount1/logs/a", EMULATOR, "logs", "a"),
        ("http://[::1]:10000/devstoreaccount1/logs", "http://[::1]:10000/devstoreaccount1", "logs", ""),
        ("http://localhost:10000/acct/logs/a", "http://localhost:10000/acct", "logs", "a"),
        ("http://azurite:10000/acct/logs/a", "http://azurite:10000/acct", "logs", "a"),
        # In https URLs the path is percent-encoded, in Hadoop's it is not.
        ("https://acct.blob.core.windows.net/logs/a%20b%25%3F%23%C3%BC", AZURE, "logs", "a b%?#ü"),
        ("wasbs://logs@acct.blob.core.windows.net/a%20b#c", AZURE, "logs", "a%20b#c"),
        # Signs of patterns are no queries.
        ("wasb://logs@acct.blob.core.windows.net/20[0,1]?/*/x?.csv", AZURE, "logs", "20[0,1]?/*/x?.csv"),
        ("https://acct.blob.core.windows.net/logs/201?/m=06/*", AZURE, "logs", "201?/m=06/*"),
    ],
)
def test_every_form_of_address_is_read(url: str, endpoint: str, container: str, path: str) -> None:
    assert is_remote(url)
    assert parsed(url) == BlobLocation(endpoint, container, path)


@pytest.mark.parametrize(
    ("url", "endpoints", "expected"),
    [
        ("wasb://logs@acct/a", {"acct": AZURE}, BlobLocation(AZURE, "logs", "a")),
        ("wasb://logs@devstoreaccount1/a", {"devstoreaccount1": EMULATOR + "/"}, BlobLocation(EMULATOR, "logs", "a")),
        ("http://blobs.example.org/acct/logs/a", {"acct": "http://blobs.example.org/acct"},
         BlobLocation("http://blobs.example.org/acct", "logs", "a")),
    ],
)  # fmt: skip
def test_accounts_of_the_configuration_need_no_host(
    url: str, endpoints: dict[str, str], expected: BlobLocation
) -> None:
    assert parsed(url, endpoints) == expected


@pytest.mark.parametrize(
    "url",
    [
        f"https://acct.blob.core.windows.net/logs/a?{SAS}",
        f"wasbs://logs@acct.blob.core.windows.net/a?{SAS}",
        f"{EMULATOR}/logs/a?{SAS}",
    ],
)
def test_a_sas_is_taken_out_of_the_url(url: str) -> None:
    location, sas = parse_blob_url(url)
    assert sas == SAS
    assert location.path == "a"
    assert "sig" not in location.url + repr(location) + str(location)


@pytest.mark.parametrize(
    ("url", "wanted"),
    [
        ("/data/x.csv", "no address of a blob"),
        ("ftp://acct.blob.core.windows.net/c/x", "no address of a blob"),
        ("wasbs://acct.blob.core.windows.net/c/x", "names no container"),
        ("wasbs://logs@acct/x", "'acct' is not known"),
        ("wasbs://logs@storage.example.org/x", "is not the blob endpoint"),
        ("https://example.org/c/x", "is not the blob endpoint"),
        ("https:///c/x", "no host is not the blob endpoint"),
        ("https://user:pass@acct.blob.core.windows.net/c/x", "user name or password"),
        ("https://acct.blob.core.windows.net:port/c/x", "host or port"),
        ("https://acct.blob.core.windows.net/", "found the container ''"),
        ("https://acct.blob.core.windows.net/No/x", "found the container 'No'"),
        ("https://acct.blob.core.windows.net/a--b/x", "found the container"),
        ("http://127.0.0.1:10000/", "found the account ''"),
        ("https://acct.blob.core.windows.net/logs/a?comp=list", "no SAS"),
        ("https://acct.blob.core.windows.net/logs/%FF", "not UTF-8"),
        ("https://acct.blob.core.windows.net/logs/a/../b", "part that is . or .."),
        ("https://acct.blob.core.windows.net/logs/%2E%2E/b", "part that is . or .."),
        ("wasbs://logs@acct.blob.core.windows.net/" + "x" * 1025, "1,025 characters"),
        ("wasbs://logs@acct.blob.core.windows.net/a\nb", "control character"),
    ],
)
def test_what_cannot_be_an_address_is_refused(url: str, wanted: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_blob_url(url)
    assert wanted in str(caught.value)
    assert "\n" not in str(caught.value)


def test_messages_hold_neither_sas_nor_password() -> None:
    for url in (
        "https://example.org/c/x?sig=SECRET",
        "https://u:SECRET@example.org/c",
        "https://acct.blob.core.windows.net/c/x?sv=1&code=SECRET",
    ):
        with pytest.raises(ConfigError) as caught:
            parse_blob_url(url)
        assert "SECRET" not in str(caught.value)


@pytest.mark.parametrize("text", ["/wasb://x", "data/wasbs", "file:///x", "wasb:/x", "hdfs://n/x", "C:\\x", "x.csv"])
def test_other_addresses_are_not_taken_for_blobs(text: str) -> None:
    assert not is_remote(text)


@pytest.mark.parametrize(
    ("endpoint", "account"),
    [
        (AZURE, "acct"),
        ("https://acct-secondary.blob.core.windows.net", "acct"),
        ("https://acct.z12.blob.storage.azure.net", "acct"),
        (EMULATOR, "devstoreaccount1"),
    ],
)
def test_the_account_is_found_in_host_or_path(endpoint: str, account: str) -> None:
    assert BlobLocation(endpoint, "logs").account == account


@pytest.mark.parametrize("path", ["a b", "ü/中", "100%", "h#t", "q?x=1", "a//b", "quote'\"<>|", "[x]*!,", "~+&=;@:$"])
def test_urls_lead_back_to_the_place(path: str) -> None:
    for endpoint in (AZURE, EMULATOR):
        location = BlobLocation(endpoint, "logs", path)
        assert parse_blob_url(location.url) == (location, None)
        assert "#" not in location.url
        assert " " not in location.url


def test_places_below_a_place() -> None:
    root = BlobLocation(AZURE, "logs")
    assert root.url == str(root) == f"{AZURE}/logs"
    assert root.join("a").join("b/c") == root.at("a/b/c")
    assert root.at("a/").join("b") == root.at("a/b")


@pytest.mark.parametrize("name", ["", "x" * 1025, "..", ".", "a/../b", "a/./b", "a\\..\\b", "../x", "a\0b", "\ud800"])
def test_names_that_would_be_answered_by_another_blob_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"has|is not"):
        check_name(name)


@pytest.mark.parametrize("name", ["a", "x" * 1024, "...", "a..b", "..a/b..", "/a", "a//b", "a/", ".hidden", "%2E%2E/x"])
def test_other_names_are_taken(name: str) -> None:
    check_name(name)


# --- patterns -------------------------------------------------------------------------------------------------------

NAMES = [
    "2016/05/a/0/request.csv",
    "2016/06/a/0/request.csv",
    "2016/06/b/7/request.csv",
    "2017/06/a/1/request.csv.gz",
    "2016/06/.hidden/request.csv",
    "2016/06/a/.request.csv",
    "2016/x[1].csv",
    "2016/x1.csv",
    "top.csv",
    "a b/ü.csv",
]
PATTERNS = [
    "20[0,1][0-9]/[0,1][0-9]/[a,b]/[0-6]/request.csv",
    "20[0,1][0-9]/[0,1][0-9]/[a,b]/[0-9]/request.csv*",
    "2016/*/*/*/request.csv",
    "**/request.csv",
    "2016/**/request.csv",
    "**",
    "2016/**",
    "**/**/06/**/*.csv",
    "*",
    "*.csv",
    "*/*.csv",
    "2016/06/.*/request.csv",
    "2016/06/a/.*",
    "2016/x[1].csv",
    "2016/x[[]1].csv",
    "2016/x[!2].csv",
    "201?/x?.csv",
    "a b/?.csv",
    "top.csv",
    "top.csv/**",
    "nothing/*",
    "2016/06",
    "[",
    "2016/06/**/**",
]


@pytest.mark.parametrize("pattern", PATTERNS)
def test_patterns_find_what_they_find_in_a_folder(
    pattern: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in NAMES:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    monkeypatch.chdir(tmp_path)
    try:
        local = [os.path.relpath(file.path) for file in find_files(pattern)]
    except InputError:  # nothing found, or a folder
        local = []
    matches = matcher(pattern)
    matching = [pattern] if pattern in NAMES else sorted(filter(matches, NAMES))
    assert matching == local
    assert all(name.startswith(fixed_prefix(pattern)) for name in matching)


@pytest.mark.parametrize(
    ("pattern", "prefix"),
    [("a/b.csv", "a/b.csv"), ("a/20[0,1]*/x", "a/20"), ("*", ""), ("a?", "a"), ("a/**/b", "a/")],
)
def test_only_the_fixed_start_of_a_pattern_is_listed(pattern: str, prefix: str) -> None:
    assert fixed_prefix(pattern) == prefix


def test_a_hostile_pattern_takes_no_time() -> None:
    assert not matcher("/".join(["**", "a*"] * 100) + "/b")("/".join(["aaaa"] * 500))
