"""What git says of a project: the commit, and what differs from it."""

from __future__ import annotations

import subprocess
from pathlib import Path

from loadcast.experiments.snapshot import SECRET_FILES
from loadcast.secrets import without_secrets

#: Of a longer difference only the beginning is kept; the snapshot has the files themselves.
_LONGEST_DIFF_BYTES = 4_000_000


def git_commit(project: Path) -> str | None:
    """The commit that is checked out; None without git."""
    return _git(project, "rev-parse", "HEAD") or None


def git_diff(project: Path) -> str:
    """What differs from the commit in files that git tracks, without secrets; empty where nothing does.

    Files that are never sent because they hold secrets are left out, should git track them.
    """
    others = [f":(top,exclude,glob)**/{pattern}" for pattern in SECRET_FILES]
    return without_secrets(_git(project, "diff", "--no-color", "--no-ext-diff", "HEAD", "--", ":/", *others) or "")


def _git(project: Path, *words: str) -> str | None:
    try:
        done = subprocess.run(["git", "-C", str(project), *words], capture_output=True, stdin=subprocess.DEVNULL)
    except OSError:
        return None
    if done.returncode:
        return None
    return done.stdout[:_LONGEST_DIFF_BYTES].decode("utf-8", "replace").strip()
