"""Where compiled code is kept: by the content of the sources it was compiled from.

So all copies of the same version share it, wherever they lie: clones, installed packages, snapshots, the zip that
executors of a cluster get; and no version takes another's for its own. numba's own rule goes by the path and time of
the one file that a function stands in.
"""

from __future__ import annotations

import hashlib
import inspect
import logging
import os
import pkgutil
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

from numba import config
from numba.core.caching import CompileResultCacheImpl, FunctionCache, _CacheLocator

from loadcast import kernels
from loadcast.system.caches import cache_folder

_FOLDER = "kernels"
_OF_OURS = f"loadcast-{_FOLDER}"
#: Names a folder that was NUMBA_CACHE_DIR where the kernels were compiled ahead.
COMPILED_VARIABLE = "LOADCAST_COMPILED"
#: Seconds after which code that nobody has asked for is removed.
_UNUSED_S = 60 * 24 * 3600


def keep_compiled(dispatcher: Any) -> None:
    """Let numba's function keep its compiled code. Raises RuntimeError where there is no place to keep it."""
    # Its debug log of one compilation is larger than a pipe holds, and that of Spark's daemon is read late, or never.
    logging.getLogger("numba").setLevel(logging.WARNING)
    dispatcher._cache = _Cache(dispatcher.py_func)  # type: ignore[no-untyped-call]


class _ByContent(_CacheLocator):
    """Says where a function's code is kept."""

    def __init__(self, function: Callable[..., Any], file: str) -> None:
        self._py_file, self._line, self._version = file, function.__code__.co_firstlineno, _version_of(function)
        self._folder = _kept_in() / self._version

    @classmethod
    def from_function(cls, py_func: Callable[..., Any], py_file: str) -> _ByContent | None:
        """The locator; None where nothing can be kept."""
        try:
            locator = cls(py_func, py_file)
            if not locator._folder.exists():
                _remove_unused(locator._folder.parent)
                _take_over(locator._folder)
            locator.ensure_cache_path()  # type: ignore[no-untyped-call]
            os.utime(locator._folder)
        except (OSError, RuntimeError):
            return None
        return locator

    def get_cache_path(self) -> str:
        """The folder."""
        return str(self._folder)

    def get_source_stamp(self) -> str:
        """What numba compares with what is kept."""
        return self._version

    def get_disambiguator(self) -> str:
        """Tells functions of the same name apart."""
        return str(self._line)


class _Implementation(CompileResultCacheImpl):
    _locator_classes = [_ByContent]  # noqa: RUF012  # as numba has it


class _Cache(FunctionCache):
    _impl_class = _Implementation


def _kept_in() -> Path:
    """A folder of ours alone: in the one that numba's own variable names, if it does, others keep theirs."""
    named = getattr(config, "CACHE_DIR", "")  # set from the environment, so not known to type checkers
    return Path(named, _OF_OURS) if named else cache_folder() / _FOLDER


def _version_of(function: Callable[..., Any]) -> str:
    """What the sources have in common: of all kernels, of those in the function's package, and of its own module."""
    module = sys.modules[function.__module__]
    package = module.__package__ or ""
    others = _together(package) if package.startswith(f"{kernels.__name__}.") else ""
    together = f"{_together(kernels.__name__)}\n{others}{inspect.getsource(module)}"
    return hashlib.sha256(together.encode()).hexdigest()[:20]


@cache
def _together(package: str) -> str:
    """All sources of a package together, whether they have been imported or not; not those of packages in it."""
    return hashlib.sha256("\0".join(_sources(package)).encode()).hexdigest()


def _sources(package: str) -> Iterator[str]:
    for module in sorted(pkgutil.iter_modules(sys.modules[package].__path__), key=lambda module: module.name):
        name = f"{package}.{module.name}"
        spec = module.module_finder.find_spec(name, None)
        loader: Any = spec.loader if spec else None  # of files, or of a zip
        if loader is None:
            raise RuntimeError(f"{name}: its source cannot be read")
        yield loader.get_source(name)


def _take_over(folder: Path) -> None:
    """Copy what was compiled elsewhere and came with the job; numba looks whether it is for this processor."""
    came_in = os.environ.get(COMPILED_VARIABLE)
    source = Path(came_in, _OF_OURS, folder.name) if came_in else None
    if source is None or not source.is_dir():
        return
    making = folder.with_name(f".{folder.name}-{os.getpid()}")
    with suppress(OSError):  # another process was faster, or there is no place
        shutil.copytree(source, making)
        making.rename(folder)
    shutil.rmtree(making, ignore_errors=True)


def _remove_unused(folder: Path) -> None:
    """Remove what no process has asked for in a long time."""
    with suppress(OSError):
        for version in folder.iterdir():
            if version.stat().st_mtime < time.time() - _UNUSED_S:
                shutil.rmtree(version, ignore_errors=True)
