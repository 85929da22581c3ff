"""The walk linked from its file: the same bits without numba, and compiled anew whatever is wrong with the file."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from bundles import random_features, random_tree, write_bundle
from loadcast.models import boosted_walk, machine_code, quick_boosted, walk
from loadcast.models.boosted import BoostedTrees, margins
from loadcast.models.forest import build_forest, votes
from loadcast.models.quick_forest import quick_walk
from loadcast.system.caches import CACHE_VARIABLE
from plain_forest import FEATURES, node_table, random_rows

ASK = """
import sys
import numpy as np
from loadcast.serving.bundle import load_bundle
model = load_bundle(sys.argv[1]).model
model.warm()
matrix = np.random.default_rng(7).normal(size=(64, model.n_features))
sys.stdout.write(f"{'numba' in sys.modules} {model.predict(matrix).probabilities.tobytes().hex()}")
"""


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder that has the walk's file, and nothing else."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(CACHE_VARIABLE, str(folder))
        assert quick_walk() is not None
        yield folder


@pytest.fixture
def not_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(source: machine_code.Source) -> None:
        raise AssertionError("it was compiled")

    monkeypatch.setattr(machine_code, "_compiled", fail)


def kept(cache: Path) -> Path:
    (file,) = (cache / "walks").iterdir()
    return file


@pytest.mark.usefixtures("not_compiled")
@pytest.mark.parametrize("seed", range(12))
def test_it_gives_the_same_bits(cache: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    trees = [random_tree(rng, int(rng.integers(1, 7)), FEATURES) for _ in range(int(rng.integers(1, 6)))]
    forest = build_forest(node_table(trees), len(FEATURES))
    nodes, linked = walk.compact_nodes(forest), quick_walk()
    assert linked is not None
    for n in (0, 1, 31, 32, 33, 100):
        matrix, answer = random_rows(rng, trees, n), np.zeros((n, forest.n_classes))
        scratch = np.zeros(walk.BLOCK_ROWS, dtype=np.uint32)
        linked(np.ascontiguousarray(matrix, dtype=np.float64), nodes, forest.depth, scratch, answer)
        assert answer.tobytes() == votes(forest, matrix).tobytes()


@pytest.mark.usefixtures("not_compiled")
def test_an_array_in_pieces_is_refused(cache: Path) -> None:
    linked = quick_walk()
    assert linked is not None
    rng = np.random.default_rng(1)
    forest = build_forest(node_table([random_tree(rng, 3, FEATURES)]), len(FEATURES))
    scratch, answer = np.zeros(walk.BLOCK_ROWS, np.uint32), np.zeros((2, forest.n_classes))
    with pytest.raises(ValueError, match="one piece"):
        linked(np.zeros((4, len(FEATURES)))[::2], walk.compact_nodes(forest), forest.depth, scratch, answer)


def test_another_process_links_it_without_numba_and_answers_the_same(cache: Path, tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path / "bundle", random_features(300))
    said = [
        subprocess.run([sys.executable, "-c", ASK, str(bundle)], check=True, capture_output=True, text=True).stdout
        for _ in range(2)
    ]
    assert said[0] == said[1]
    assert said[0].startswith("False ")


@pytest.mark.parametrize("change", ["torn", "flipped", "open to others"])
def test_a_file_that_is_wrong_is_not_linked_but_made_anew(cache: Path, change: str) -> None:
    file = kept(cache)
    right = file.read_bytes()
    spoilt = {"torn": right[: len(right) // 2], "flipped": right[:-9] + bytes([right[-9] ^ 1]) + right[-8:]}
    file.write_bytes(spoilt.get(change, right))
    if change == "open to others":
        file.chmod(0o622)
    assert machine_code._kept(file) is None
    assert quick_walk() is not None
    assert kept(cache) == file
    assert machine_code._kept(file) is not None
    assert file.stat().st_mode & 0o077 == 0


def test_without_a_compiler_there_is_none(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "llvmlite.binding", None)
    assert quick_walk() is None


def boosted_trees(rng: np.random.Generator) -> BoostedTrees:
    """Two trees of three splits each."""
    leaves = np.repeat(np.arange(3, 7), 2)
    return BoostedTrees(
        roots=np.array([0, 7]),
        column=np.array([2, 0]),
        feature=rng.integers(0, 3, 14),
        value=rng.normal(size=14).astype(np.float32),
        children=np.concatenate([first + np.array([2, 1, 4, 3, 6, 5, *leaves]) for first in (0, 7)]),
        missing_left=rng.random(14) < 0.5,
        base=rng.normal(size=3).astype(np.float32),
        depth=2,
        n_features=3,
    )


def test_the_walk_through_boosted_trees_is_had_in_the_same_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path))
    linked = quick_boosted.quick_walk()
    assert linked is not None
    rng = np.random.default_rng(0)
    for n in (0, 1, 33, 100):
        trees = boosted_trees(rng)
        matrix, answer = rng.normal(size=(n, 3)).astype(np.float32), np.tile(trees.base, (n, 1))
        matrix[::3, 1], matrix[1::3, 2] = -99, np.nan
        scratch = np.zeros(walk.BLOCK_ROWS, dtype=np.uint32)
        linked(matrix, boosted_walk.compact_nodes(trees), trees.depth, scratch, answer)
        assert answer.tobytes() == margins(trees, matrix).tobytes()
