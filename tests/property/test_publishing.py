"""Whatever publishers do and suffer, readers get whole runs, in the order of their publishing."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from unittest.mock import patch

from hypothesis import HealthCheck, settings

from loadcast import paths
from loadcast.storage.blob.output import ContainerOutput
from loadcast.storage.output import FolderOutput
from memory_container import MemoryContainer
from publishing_machine import Bench, ContainerMachine, FolderBench, PublishingMachine, content


class FolderMachine(PublishingMachine):
    """Publishers of an output folder in memory, where the system has such."""

    def __init__(self) -> None:
        self.temporary = tempfile.TemporaryDirectory(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None)
        super().__init__()

    def make_bench(self) -> Bench:
        return FolderBench(FolderOutput(Path(self.temporary.name)), Path(self.temporary.name))

    def teardown(self) -> None:
        super().teardown()
        self.temporary.cleanup()


class MemoryBench(Bench):
    """A container in memory; Azurite has its turn in tests/integration/test_publishing.py."""

    def __init__(self) -> None:
        self._container = MemoryContainer()
        self.output: ContainerOutput = ContainerOutput(self._container)

    def pointer(self, link: str) -> str | None:
        data = self._container.get(link)
        return data[0].decode().strip() if data else None

    def files(self) -> Mapping[str, Mapping[str, bytes | int]]:
        files: dict[str, dict[str, bytes | int]] = {}
        for blob in self._container.list(f"{paths.RUNS}/"):
            _, run, name = blob.name.split("/", 2)
            files.setdefault(run, {})[name] = self._container.blobs[blob.name][0]
        return files

    def read(self, link: str) -> Mapping[str, bytes]:
        with tempfile.TemporaryDirectory() as cache, patch.dict(os.environ, {"LOADCAST_CACHE": cache}):
            return content((self.output.at_hand({link: paths.ARTEFACTS}) / link).resolve())

    def break_lock(self) -> None:
        self._container.holders.clear()


class MemoryMachine(ContainerMachine):
    """Publishers of a container."""

    def make_bench(self) -> Bench:
        return MemoryBench()


EXAMPLES = int(os.environ.get("HYPOTHESIS_EXAMPLES", "20"))
TestFolder = FolderMachine.TestCase
TestContainer = MemoryMachine.TestCase
TestFolder.settings = TestContainer.settings = settings(
    max_examples=EXAMPLES, stateful_step_count=30, suppress_health_check=[HealthCheck.too_slow]
)
