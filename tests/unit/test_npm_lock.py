"""The lock of the tests' Node packages: exact versions with hashes, and no download address."""

from __future__ import annotations

import json
import re
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
MANIFEST = json.loads((TESTS / "package.json").read_text(encoding="utf-8"))
PACKAGES = json.loads((TESTS / "package-lock.json").read_text(encoding="utf-8"))["packages"]


def test_what_is_asked_for_is_pinned_and_locked() -> None:
    assert MANIFEST["dependencies"]
    for name, version in MANIFEST["dependencies"].items():
        assert re.fullmatch(r"\d+\.\d+\.\d+", version), name
        assert PACKAGES[f"node_modules/{name}"]["version"] == version


def test_every_locked_package_has_a_hash_and_no_address() -> None:
    locked = {name: package for name, package in PACKAGES.items() if name}
    assert len(locked) > 100
    assert [name for name, package in locked.items() if not package["integrity"].startswith("sha512-")] == []
    assert [name for name, package in locked.items() if "resolved" in package] == []
