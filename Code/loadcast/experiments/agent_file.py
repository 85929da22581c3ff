"""The agent as the one file that is sent to targets."""

from __future__ import annotations

import hashlib
import io
import zipfile
from functools import cache
from pathlib import Path

_SOURCES = Path(__file__).with_name("agent")
_PACKAGE = "loadcast_agent"
_MAIN = f"import sys\nfrom {_PACKAGE}.commands import main\nsys.exit(main(sys.argv[1:]))\n"
#: Zips know no earlier time; the same sources give the same bytes.
_TIME = (1980, 1, 1, 0, 0, 0)


@cache
def agent_file() -> tuple[str, bytes]:
    """The name, which says the version, and the content of a zip that Python runs."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for source in sorted(_SOURCES.glob("*.py")):
            archive.writestr(zipfile.ZipInfo(f"{_PACKAGE}/{source.name}", _TIME), source.read_bytes())
        archive.writestr(zipfile.ZipInfo("__main__.py", _TIME), _MAIN)
    content = packed.getvalue()
    return f"agent-{hashlib.sha256(content).hexdigest()[:16]}.pyz", content
