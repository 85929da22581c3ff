"""The parts that are installed only where they are wanted: pip's extras, as pyproject.toml names them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec

from loadcast.errors import EnvironmentNotReadyError

#: Extra → the modules that come with it.
EXTRAS = {
    "spark": ("pyspark", "py4j", "numba", "llvmlite", "pandas", "xgboost", "scipy"),
    "pictures": ("resvg_py",),
    "history": ("mlflow", "sqlalchemy", "alembic"),
    "databricks": ("databricks",),
    "synapse": ("azure.synapse.spark", "msrest", "six"),
    "amlcompute": ("azure.ai.ml", "marshmallow"),
}


def require(extra: str) -> None:
    """Raise EnvironmentNotReadyError, with the command that adds it, where a module of `extra` is not installed."""
    for module in EXTRAS[extra]:
        if not _is_installed(module):
            raise _not_installed(module, extra)


def _is_installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # a package above it
        return False


@contextmanager
def missing_named() -> Iterator[None]:
    """Say which command adds a part that is imported in the block and not installed.

    Raises EnvironmentNotReadyError in place of the ModuleNotFoundError; one of any other module is let through.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        missing = error.name or ""
        pairs = ((module, extra) for extra, modules in EXTRAS.items() for module in modules)
        module, extra = next((pair for pair in pairs if _is_within(missing, pair[0])), ("", ""))
        if not extra:
            raise
        raise _not_installed(module, extra) from error


def _is_within(missing: str, module: str) -> bool:
    """Whether a missing module is another, a part of it, or the namespace that only it brings (`azure.ai`)."""
    return f"{missing}.".startswith(f"{module}.") or (missing.count(".") > 0 and module.startswith(f"{missing}."))


def _not_installed(module: str, extra: str) -> EnvironmentNotReadyError:
    return EnvironmentNotReadyError(
        f"{module} is not installed, and this command needs it. Add it: pip install 'loadcast[{extra}]'"
    )
