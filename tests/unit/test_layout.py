"""The shape of the source tree: small rooms, no work at import, nothing that ties it to one place."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CODE = ROOT / "Code"
PACKAGE = CODE / "loadcast"
MODULES = sorted(PACKAGE.rglob("*.py"))
ENTRY_SCRIPTS = sorted(CODE.glob("*.py"))
TEST_FILES = sorted((ROOT / "tests").rglob("*.py"))
# The pipeline is what the spark room is for; everything else, the commands included, starts without Spark.
SPARK_ROOMS = ("loadcast.spark.", "loadcast.pipeline.")
LONGEST_FILE, LONGEST_FUNCTION, LONGEST_ENTRY_SCRIPT, MOST_PARAMETERS = 399, 39, 30, 6

# In parts, so that this file does not hold what it looks for.
REGISTRY_HOSTS = tuple(
    ".".join(parts)
    for parts in (
        ("pypi", "org"),
        ("pypi", "python", "org"),
        ("pythonhosted", "org"),
        ("npmjs", "org"),
        ("npmjs", "com"),
        ("yarnpkg", "com"),
        ("anaconda", "org"),
        ("conda", "io"),
        ("maven", "org"),
        ("repo1", "maven"),
        ("crates", "io"),
        ("rubygems", "org"),
        ("proxy", "golang", "org"),
    )
)


def _name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def _lines(path: Path) -> int:
    return len(path.read_text(encoding="utf-8").splitlines())


def _functions(path: Path) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]


def _tracked_files() -> list[Path]:
    argv = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listing = subprocess.run(argv, cwd=ROOT, capture_output=True)
    if listing.returncode != 0:
        pytest.skip("this is not a git clone")
    return [ROOT / name for name in os.fsdecode(listing.stdout).split("\0") if name and (ROOT / name).is_file()]


def test_the_checks_below_see_the_source() -> None:
    assert PACKAGE / "schema.py" in MODULES
    assert len(MODULES) > 10


def test_code_is_no_package_so_that_it_never_shadows_the_standard_library() -> None:
    assert not (CODE / "__init__.py").exists()


@pytest.mark.parametrize("path", ENTRY_SCRIPTS, ids=_name)
def test_entry_scripts_are_thin(path: Path) -> None:
    assert _lines(path) <= LONGEST_ENTRY_SCRIPT


def test_files_are_small() -> None:
    assert {_name(path): _lines(path) for path in MODULES + TEST_FILES if _lines(path) > LONGEST_FILE} == {}


def test_functions_are_small() -> None:
    lengths = {
        f"{_name(path)}:{node.lineno} {node.name}": (node.end_lineno or 0) - node.lineno + 1
        for path in MODULES
        for node in _functions(path)
    }
    assert {name: length for name, length in lengths.items() if length > LONGEST_FUNCTION} == {}


def test_functions_take_few_parameters() -> None:
    counts = {
        f"{_name(path)}:{node.lineno} {node.name}": sum(
            argument.arg not in {"self", "cls"}
            for argument in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)
        )
        for path in MODULES
        for node in _functions(path)
        # A command's function takes what its command line takes.
        if not any("option" in ast.unparse(decorator) for decorator in node.decorator_list)
    }
    assert {name: count for name, count in counts.items() if count > MOST_PARAMETERS} == {}


def _imported(node: ast.Import) -> list[str]:
    return [alias.name for alias in node.names if alias.name != "pickletools"]


def test_nothing_is_pickled() -> None:
    """Nor unpickled: pickletools only lists opcodes, and has no way to execute them."""
    imports = {
        f"{_name(path)}:{node.lineno}"
        for path in MODULES + ENTRY_SCRIPTS
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if (
            isinstance(node, ast.Import)
            and any("pickle" in alias.name.replace("pickletools", "") for alias in node.names)
        )
        or (isinstance(node, ast.ImportFrom) and "pickle" in (node.module or ""))
    }
    assert imports == set()


def test_no_command_goes_through_a_shell() -> None:
    calls = {
        f"{_name(path)}:{node.lineno}"
        for path in MODULES + ENTRY_SCRIPTS
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
        and (
            any(word.arg == "shell" and ast.unparse(word.value) != "False" for word in node.keywords)
            or ast.unparse(node.func) in {"os.system", "os.popen"}
        )
    }
    assert calls == set()


_IMPORT_ALL = """
import importlib, sys
for name in sys.argv[1:]:
    importlib.import_module(name)
    heavy = {"pyspark", "mlflow", "databricks", "azure.ai.ml", "azure.synapse.spark"} & sys.modules.keys()
    if heavy:
        sys.exit(f"importing {name} imports {', '.join(heavy)}")
"""


def test_importing_anything_but_the_rooms_that_work_with_spark_imports_neither_pyspark_nor_mlflow() -> None:
    names = [".".join(path.relative_to(CODE).with_suffix("").parts).removesuffix(".__init__") for path in MODULES]
    outside = [name for name in names if not f"{name}.".startswith(SPARK_ROOMS)]
    done = subprocess.run(
        [sys.executable, "-c", _IMPORT_ALL, *outside],
        env={**os.environ, "PYTHONPATH": str(CODE)},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_no_file_names_a_package_registry() -> None:
    actual = {
        f"{_name(path)}: {host}"
        for path in _tracked_files()
        for host in REGISTRY_HOSTS
        if host.encode() in path.read_bytes()
    }
    assert actual == set()


def test_every_locked_package_has_a_hash() -> None:
    for lock in ROOT.glob("requirements*.lock"):
        text = lock.read_text(encoding="utf-8")
        entries = [entry for entry in text.split("\n") if entry and not entry.startswith((" ", "#"))]
        assert entries, lock.name
        assert all(entry.endswith("\\") for entry in entries), lock.name


def test_the_run_time_lock_is_part_of_the_development_lock() -> None:
    def pins(name: str) -> set[str]:
        lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
        # Without the markers: what development needs on top may need a package in more places.
        return {line.split(" ")[0] for line in lines if "==" in line and not line.startswith((" ", "#"))}

    assert pins("requirements.lock") <= pins("requirements-dev.lock")
