"""Compiled code is made once and kept; where it cannot be kept or read again, it works all the same."""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from numba import config

from loadcast.kernels import compiled_cache
from loadcast.kernels.compiled_cache import keep_compiled
from loadcast.kernels.forest.bootstrap import draw_weights
from loadcast.kernels.forest.split import split_nodes
from loadcast.kernels.words import compiled, ready
from loadcast.models.walk import walk_trees

ROOT = Path(__file__).resolve().parents[2]
LOAD = """
from loadcast.kernels.scan import Counts, RowFilter, Scanner, load
from loadcast.kernels.rows import LAYOUT_17
from loadcast.kernels.sweep import compiled_sweep
load()
line = b"0,2016-06-01 00:05:00,9,3,2,0,0,0,11,12,13,14,15,16,1,10.0.0.1,7"
scanner = Scanner(LAYOUT_17, RowFilter(0, 1 << 40))
assert scanner.scan(line) == []
assert scanner.counts() == Counts(rows=1, good=1)
print(sum(compiled_sweep().stats.cache_hits.values()), sum(compiled_sweep().stats.cache_misses.values()))
"""
#: The same for one that is compiled in a tenth of the time.
LOAD_SMALL = """
from loadcast.kernels.moments import Moments, compiled_adding
import numpy as np
assert Moments.of(np.ones((2, 3))).mean.tolist() == [1, 1]
print(sum(compiled_adding().stats.cache_hits.values()), sum(compiled_adding().stats.cache_misses.values()))
"""
#: A caller of compiled code, of a version whose type is in the module `{room}`.
OF_A_VERSION = """from {room} import Pair
def total(pair): return pair.left + pair.right
from loadcast.kernels.words import ready
here = ready(total, Pair(1, 2))
print(sum(here.stats.cache_hits.values()), sum(here.stats.cache_misses.values()))
"""
PAIR = "from typing import NamedTuple\nclass Pair(NamedTuple):\n    left: int\n    right: int\n"


def start(cache: Path, code: Path = ROOT / "Code", program: str = LOAD_SMALL) -> subprocess.Popen[str]:
    environ = {**os.environ, "PYTHONPATH": str(code), "NUMBA_CACHE_DIR": str(cache)}
    return subprocess.Popen(
        [sys.executable, "-c", program], env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def hits_and_misses(process: subprocess.Popen[str]) -> str:
    out, errors = process.communicate(timeout=120)
    assert (process.returncode, errors) == (0, "")
    return out.strip()


@pytest.mark.slow
def test_processes_that_start_at_once_compile_and_later_ones_do_not(tmp_path: Path) -> None:
    first = [start(tmp_path, program=LOAD), start(tmp_path, program=LOAD)]
    assert {hits_and_misses(process) for process in first} <= {"0 1", "1 0"}
    assert hits_and_misses(start(tmp_path, program=LOAD)) == "1 0"


@pytest.mark.slow
def test_the_same_sources_share_what_is_kept(tmp_path: Path) -> None:
    assert hits_and_misses(start(tmp_path)) == "0 1"
    # Also in a zip, as executors have them; changed ones do not.
    packed = shutil.make_archive(str(tmp_path / "loadcast"), "zip", ROOT / "Code", "loadcast")
    shutil.copytree(ROOT / "Code" / "loadcast", tmp_path / "copy" / "loadcast")
    for code in (Path(packed), tmp_path / "copy"):
        assert hits_and_misses(start(tmp_path, code)) == "1 0"
    with open(tmp_path / "copy" / "loadcast" / "kernels" / "fields.py", "a") as changed:
        changed.write("# changed\n")
    assert hits_and_misses(start(tmp_path, tmp_path / "copy")) == "0 1"
    for kept in tmp_path.rglob("*.nbc"):
        kept.write_bytes(kept.read_bytes()[:1000])
    assert hits_and_misses(start(tmp_path)) == "0 1"


def test_what_is_kept_of_a_package_knows_all_its_sources(monkeypatch: pytest.MonkeyPatch) -> None:
    def versions() -> list[str]:
        compiled_cache._together.cache_clear()
        return [compiled_cache._version_of(function) for function in (split_nodes, draw_weights, walk_trees)]

    before, sources = versions(), compiled_cache._sources
    more = {"loadcast.kernels.forest": ["changed"]}
    monkeypatch.setattr(compiled_cache, "_sources", lambda package: [*sources(package), *more.get(package, [])])
    assert [new == old for new, old in zip(versions(), before, strict=True)] == [False, False, True]
    monkeypatch.undo()
    assert versions() == before


@pytest.mark.slow
def test_what_an_older_version_kept_with_a_type_that_is_gone_is_replaced(tmp_path: Path) -> None:
    environ = {**os.environ, "PYTHONPATH": str(ROOT / "Code"), "NUMBA_CACHE_DIR": str(tmp_path / "cache")}

    def started(room: str) -> str:
        """What a process of the version says whose type lives in this module."""
        (tmp_path / "caller.py").write_text(OF_A_VERSION.format(room=room))
        command = [sys.executable, str(tmp_path / "caller.py")]
        return hits_and_misses(
            subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        )

    (tmp_path / "older.py").write_text(PAIR)
    assert started("older") == "0 1"
    (tmp_path / "older.py").rename(tmp_path / "newer.py")
    assert started("newer") == "0 1"
    assert started("newer") == "1 0"


@pytest.mark.slow
def test_where_nothing_can_be_kept_each_process_compiles(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert hits_and_misses(start(tmp_path / "file" / "folder")) == "0 1"


def test_compiling_fills_no_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    # Spark reads what its daemon writes late: with all logs on, a compilation's would fill the pipe, and wait for ever.
    monkeypatch.setattr(config, "CACHE_DIR", str(tmp_path))
    logging.getLogger("numba").setLevel(logging.NOTSET)
    with caplog.at_level(logging.DEBUG):
        assert ready(lambda number: number + 1, 1)(2) == 3
    assert caplog.text == ""


def test_what_nobody_has_asked_for_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config, "CACHE_DIR", str(tmp_path))
    ours = tmp_path / "loadcast-kernels"
    for folder, days in ((ours / "recent", 59), (ours / "old", 61), (tmp_path / "of another program", 61)):
        folder.mkdir(parents=True)
        os.utime(folder, times=(time.time() - days * 24 * 3600,) * 2)
    keep_compiled(compiled(lambda number: number))
    assert {path.name for path in ours.iterdir()} - {"recent"} != set()
    assert not (ours / "old").exists()
    assert (ours / "recent").exists()
    assert (tmp_path / "of another program").exists()


def test_who_does_not_scan_does_not_load_the_compiler() -> None:
    code = "import sys, loadcast.cli.main, loadcast.serving.app, loadcast.serving.client, loadcast.kernels.scan; " + (
        "sys.exit(bool({'numba', 'llvmlite'} & sys.modules.keys()))"
    )
    environ = {**os.environ, "PYTHONPATH": str(ROOT / "Code")}
    assert subprocess.run([sys.executable, "-c", code], env=environ).returncode == 0


@pytest.mark.slow
def test_no_index_is_out_of_bounds(tmp_path: Path) -> None:
    """Compiled again, with checks: for every unit test of the scan, of a forest's growth and of the walk through it."""
    scan = ("test_scan.py", "test_scan_contract.py", "test_scanner.py")
    names = (*scan, "test_forest_growth.py", "test_forest_model.py")
    tests = [str(ROOT / "tests" / "unit" / name) for name in names]
    environ = {**os.environ, "NUMBA_BOUNDSCHECK": "1", "NUMBA_CACHE_DIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests],
        cwd=ROOT,
        env=environ,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-3000:]
