"""Debian's chromium, without a window, for pages that this machine serves; scripts/setup-chromium.sh gets it."""

from __future__ import annotations

import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

CHROMIUM = Path(__file__).resolve().parents[2] / ".venv" / "var" / "chromium" / "chromium"
_PATIENCE_S = 300
#: However it is run.
QUIET = (
    "--no-sandbox",  # it wants another user than root
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
    "--no-proxy-server",
    "--hide-scrollbars",
)
_WORDS = (
    *QUIET,
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    # The page's own clock runs ahead while it waits for nothing, and stands still while it waits for an answer.
    "--virtual-time-budget=10000",
)


def document(address: str) -> str:
    """A page as it is once its scripts have run, in HTML."""
    return _run(address, "--dump-dom").decode("utf-8")


def picture(address: str, file: Path, width: int, height: int) -> None:
    """What is seen of a page, as a PNG file."""
    _run(address, f"--screenshot={file}", f"--window-size={width},{height}")


def _run(address: str, *words: str) -> bytes:
    with TemporaryDirectory(prefix="loadcast-chromium-") as folder:
        argv = [str(CHROMIUM), *_WORDS, f"--user-data-dir={folder}", *words, address]
        done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, timeout=_PATIENCE_S)
    if done.returncode:
        raise AssertionError(f"chromium ended with {done.returncode}: {done.stderr.decode(errors='replace')[-2000:]}")
    return done.stdout
