"""PySpark as a cluster brings it: a zip on the path, without a package's metadata."""

from __future__ import annotations

import importlib.metadata

import pyspark
import pytest

from loadcast.pipeline.artefacts import versions


def test_spark_s_version_is_known_without_metadata(monkeypatch: pytest.MonkeyPatch) -> None:
    def version(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", version)
    assert versions()["pyspark"] == pyspark.__version__
