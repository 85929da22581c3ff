"""The parts that are installed only where they are wanted: pip's extras, as pyproject.toml names them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec

from loadcast.errors import EnvironmentNotReadyError

#: Extra → the modules that come with it.
EXTRAS = {
    "spark": ("pyspark", "py4j", "numba", "llvmlite", "pandas"),
    "history": ("mlflow", "sqlalchemy", "alembic"),
    "databricks": ("databricks",),
}


def require(extra: str) -> None:
    """Raise EnvironmentNotReadyError, with the command that adds it, where a module of `extra` is not installed."""
    for module in EXTRAS[extra]:
        if find_spec(module) is None:
            raise _not_installed(module, extra)


@contextmanager
def missing_named() -> Iterator[None]:
    """Say which command adds a part that is imported in the block and not installed.

    Raises EnvironmentNotReadyError in place of the ModuleNotFoundError; one of any other module is let through.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        module = (error.name or "").partition(".")[0]
        extra = next((name for name, modules in EXTRAS.items() if module in modules), None)
        if extra is None:
            raise
        raise _not_installed(module, extra) from error


def _not_installed(module: str, extra: str) -> EnvironmentNotReadyError:
    return EnvironmentNotReadyError(
        f"{module} is not installed, and this command needs it. Add it: pip install 'loadcast[{extra}]'"
    )
