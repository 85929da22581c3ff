"""Compiled walks as machine code in files, which a process links without numba, half a second sooner.

numba compiles a walk once for a processor; what it gives is an object file. It is kept in the user's cache folder,
and llvmlite, numba's own back end, links it. Whatever is wrong with the file, the walk is compiled anew.
"""

from __future__ import annotations

import ctypes
import hashlib
import inspect
import os
import stat
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from loadcast.system.caches import cache_folder
from loadcast.system.small_files import read_small_file, replace_file

_FOLDER = "walks"
_LARGEST_BYTES = 1 << 20
_DIGEST_BYTES = 32
#: What the object names of numba's runtime. All of it raises errors, and the walk has none to raise.
_NEVER_CALLED = (
    "NRT_Free",
    "NRT_MemInfo_call_dtor",
    "numba_do_raise",
    "numba_gil_ensure",
    "numba_gil_release",
    "numba_runtime_build_excinfo_struct",
    "numba_unpickle",
)


@dataclass(frozen=True)
class Source:
    """What is compiled: `entry` makes a function of one argument for numba, of a pointer to numbers of 64 bits.

    `modules` are those whose text the machine code follows from.
    """

    modules: tuple[ModuleType, ...]
    entry: Callable[[], Callable[[Any], None]]


Call = Callable[[list[int]], None]


def quick(source: Source) -> Call | None:
    """What calls the function with numbers, from its file; compiled, and kept, where there is none.

    None where that cannot be had here.
    """
    try:
        file = _file(source)
        return _linked(_kept(file) or _made(file, source))
    except Exception:  # whatever is wrong: numba's own way, or numpy, answers the same
        return None


def address(array: Any) -> int:
    """Where an array lies. Raises ValueError where that is not in one piece."""
    if not array.flags.c_contiguous:
        raise ValueError("an array does not lie in one piece")
    return int(array.ctypes.data)


def _file(source: Source) -> Path:
    """Where it is kept: by all that it follows from."""
    import llvmlite.binding as llvm

    sources = [inspect.getsource(module) for module in (*source.modules, sys.modules[__name__])]
    processor = [llvm.get_host_cpu_name(), llvm.get_host_cpu_features().flatten()]
    made_by = [version(name) for name in ("numba", "llvmlite", "numpy")]
    digest = hashlib.sha256("\0".join([*sources, *processor, *made_by]).encode()).hexdigest()
    return cache_folder() / _FOLDER / digest[:20]


def _kept(file: Path) -> bytes | None:
    """The content of the file, whole and this user's alone; None where it is not."""

    def check(state: os.stat_result) -> None:
        if state.st_uid != os.getuid() or state.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise PermissionError("others can write it")

    try:
        content = read_small_file(file, _LARGEST_BYTES, check)
    except OSError:
        return None
    digest, rest = content[:_DIGEST_BYTES], content[_DIGEST_BYTES:]
    return rest if hashlib.sha256(rest).digest() == digest else None


def _made(file: Path, source: Source) -> bytes:
    """The same, compiled now, and kept for the next process."""
    name, code = _compiled(source)
    content = name.encode() + b"\0" + code
    with suppress(OSError):
        replace_file(file, hashlib.sha256(content).digest() + content, 0o600, lasting=False)
    return content


def _compiled(source: Source) -> tuple[str, bytes]:
    """The symbol of the function, and the object that has it."""
    from numba import cfunc, types

    pointer: Any = types.CPointer
    made: Any = cfunc(types.void(pointer(types.int64)))(source.entry())
    return made._wrapper_name, made._library._get_compiled_object()


def pointer_to(kind: Any) -> Any:
    """For compiled code: an address as a pointer to values of a kind."""
    from numba import types
    from numba.extending import intrinsic

    def cast(_: Any, address: Any) -> Any:
        pointer: Any = types.CPointer
        signature = pointer(kind)(types.int64)

        def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            return builder.inttoptr(values[0], context.get_value_type(signature.return_type))

        return signature, generate

    return intrinsic(cast)


def _linked(content: bytes) -> Call:
    import llvmlite.binding as llvm

    name, _, code = content.partition(b"\0")
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    nothing = ctypes.CFUNCTYPE(None)(lambda: None)
    for symbol in _NEVER_CALLED:
        llvm.add_symbol(symbol, ctypes.cast(nothing, ctypes.c_void_p).value)
    machine = llvm.Target.from_default_triple().create_target_machine()
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), machine)
    engine.add_object_file(llvm.object_file.ObjectFileRef.from_data(code))
    engine.finalize_object()
    found = engine.get_function_address(name.decode())
    if not found:
        raise ValueError("the object has another function")
    return _Linked(engine, nothing, ctypes.CFUNCTYPE(None, ctypes.c_void_p)(found))


class _Linked:
    """The function, and what has to live as long as it."""

    def __init__(self, engine: Any, nothing: Any, function: Any) -> None:
        self._engine, self._nothing, self._function = engine, nothing, function

    def __call__(self, numbers: list[int]) -> None:
        """Other threads run meanwhile."""
        table = np.array(numbers, dtype=np.int64)
        self._function(table.ctypes.data)
