"""Whatever publishers of a folder do and suffer, readers get whole runs, in the order of their publishing."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from hypothesis import settings

from loadcast.storage.output import FolderOutput
from publishing_machine import Bench, FolderBench, PublishingMachine


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


TestFolder = FolderMachine.TestCase
TestFolder.settings = settings(
    max_examples=int(os.environ.get("HYPOTHESIS_EXAMPLES", "40")), stateful_step_count=30, deadline=None
)
