"""Sample data: session logs as the original data is, seeded and reproducible."""

from loadcast.sample.dirt import EXPECTED, DirtyKind, dirty_line
from loadcast.sample.spec import SampleSpec
from loadcast.sample.write import SampleSummary, write_sample

__all__ = ["EXPECTED", "DirtyKind", "SampleSpec", "SampleSummary", "dirty_line", "write_sample"]
