"""The compiled walk as machine code in a file, which a process links without numba, half a second sooner.

numba compiles the walk once for a processor; what it gives is an object file. It is kept in the user's cache folder,
and llvmlite, numba's own back end, links it. Whatever is wrong with the file, the walk is compiled anew.
"""

from __future__ import annotations

import ctypes
import hashlib
import inspect
import os
import stat
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from loadcast.models import walk
from loadcast.models.forest import Floats
from loadcast.models.walk import Nodes, Walk, Words
from loadcast.system.caches import cache_folder
from loadcast.system.small_files import read_small_file, replace_file

_FOLDER = "walks"
_LARGEST_BYTES = 1 << 20
_DIGEST_BYTES = 32
#: What the function is given: see _Linked.
_N_NUMBERS = 16
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


def quick_walk() -> Walk | None:
    """The walk, from its file; compiled, and kept, where there is none. None where that cannot be had here."""
    try:
        file = _file()
        return _linked(_kept(file) or _made(file))
    except Exception:  # whatever is wrong: numba's own way, or numpy, answers the same
        return None


def _file() -> Path:
    """Where it is kept: by all that it follows from."""
    import llvmlite.binding as llvm

    sources = [inspect.getsource(walk), Path(__file__).read_text(encoding="utf-8")]
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


def _made(file: Path) -> bytes:
    """The same, compiled now, and kept for the next process."""
    name, code = _compiled()
    content = name.encode() + b"\0" + code
    with suppress(OSError):
        replace_file(file, hashlib.sha256(content).digest() + content, 0o600, lasting=False)
    return content


def _compiled() -> tuple[str, bytes]:
    """The symbol of a function of one argument, and the object that has it.

    The argument leads to the numbers that _Linked makes: addresses, and lengths.
    """
    from numba import cfunc, types
    from numba.np.numpy_support import carray

    from loadcast.kernels.words import compiled

    walked, block_rows = compiled(walk.walk_trees), walk.BLOCK_ROWS
    numbers_at, words_at, flags_at = map(_pointer, (types.float64, types.uint32, types.boolean))

    def entry(table: Any) -> None:
        given = carray(table, _N_NUMBERS)
        n, width, n_trees, n_nodes = given[0], given[1], given[2], given[3]
        n_left, classes, depth = given[4], given[5], given[6]
        nodes = Nodes(
            carray(words_at(given[7]), n_trees),
            carray(words_at(given[8]), (n_nodes, 4)),
            carray(numbers_at(given[9]), n_nodes),
            carray(words_at(given[10]), n_nodes),
            carray(flags_at(given[11]), n_left),
            carray(numbers_at(given[12]), (n_nodes, classes)),
        )
        scratch, votes = carray(words_at(given[14]), block_rows), carray(numbers_at(given[15]), (n, classes))
        walked(carray(numbers_at(given[13]), (n, width)), nodes, depth, scratch, votes)

    pointer: Any = types.CPointer
    made: Any = cfunc(types.void(pointer(types.int64)))(entry)
    return made._wrapper_name, made._library._get_compiled_object()


def _pointer(kind: Any) -> Any:
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


def _linked(content: bytes) -> Walk:
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
    address = engine.get_function_address(name.decode())
    if not address:
        raise ValueError("the object has another function")
    return _Linked(engine, nothing, ctypes.CFUNCTYPE(None, ctypes.c_void_p)(address))


class _Linked:
    """The function, and what has to live as long as it."""

    def __init__(self, engine: Any, nothing: Any, function: Any) -> None:
        self._engine, self._nothing, self._function = engine, nothing, function
        #: The nodes of the last call, which are most often those of the next, and where they lie.
        self._known: tuple[Nodes | None, list[int]] = (None, [])

    def __call__(self, matrix: Floats, nodes: Nodes, depth: int, scratch: Words, votes: Floats) -> None:
        """As walk.compiled_walk's; other threads run meanwhile. All arrays lie in one piece."""
        known, addresses = self._known
        if known is not nodes:
            addresses = [_address(array) for array in nodes]
            self._known = nodes, addresses
        sizes = [*matrix.shape, len(nodes.roots), len(nodes.threshold), len(nodes.goes_left), votes.shape[1], depth]
        others = [_address(array) for array in (matrix, scratch, votes)]
        table = np.array([*sizes, *addresses, *others], dtype=np.int64)
        self._function(table.ctypes.data)


def _address(array: Any) -> int:
    if not array.flags.c_contiguous:
        raise ValueError("an array does not lie in one piece")
    return int(array.ctypes.data)
