"""A quicker front end for Triton's interpreter, in the process that launches the lab's kernel.

The interpreter runs a kernel's source over numpy arrays. Most of its time goes to what surrounds them: it describes the
type of every intermediate block anew, checks it, broadcasts it, and reads and writes memory an element at a time. Here
each type is made once, blocks of one shape are not broadcast, products, sums and differences are taken at once, and
addresses that follow one another are read and written in runs. Whatever else a kernel does goes the interpreter's own
way. Every result has the same bits.

What is replaced is inside Triton, so :func:`install` does nothing under any version but the one this was written for.
"""

from __future__ import annotations

import ctypes
import importlib.metadata
from collections.abc import Callable
from typing import Any

import numpy as np

WRITTEN_FOR = "3.7.1"
MOST_RUNS = 64  # of addresses that follow one another; with more, an element at a time is as quick
MOST_KEPT = 4096  # types; a kernel has some tens


def install(version: str | None = None, *, moving: bool = True) -> bool:
    """Replace the slow parts of the interpreter in this process, and tell whether they are replaced.

    Replaced are

    - of ``triton.language.block_type``: ``__new__`` and ``__init__``;
    - of ``triton.language.tensor``: ``__init__``, ``__add__``, ``__sub__`` and ``__mul__``;
    - of ``triton.language.semantic.TritonSemantic``: ``broadcast_impl_value``, ``broadcast_tensors``, ``join`` and
      ``split``;
    - of ``triton.runtime.interpreter``: ``_get_np_dtype``, and ``create_masked_load`` and ``create_masked_store`` of
      ``InterpreterBuilder``;
    - ``triton.language.core._unwrap_if_constexpr``;
    - ``triton.runtime.jit.mangle_type``.

    Args:
        version: Triton's; by default that of the one that is installed.
        moving: replace the reads and writes of memory too, which then look at a run of addresses and not at each.
    """
    if (version or importlib.metadata.version("triton")) != WRITTEN_FOR:
        return False
    from triton.runtime import interpreter

    if not hasattr(interpreter.tl.block_type, "kept"):
        _make_types_once(interpreter.tl)
        _look_up(interpreter)
        _leave_alike(interpreter)
        _compute_at_once(interpreter)
        _name_types()
    if moving and not hasattr(interpreter.InterpreterBuilder, "moves_runs"):
        _move_runs(interpreter)
    return True


def _make_types_once(tl: Any) -> None:
    """Make each type of a block once, with what a tensor of this type says of its shape and size."""
    block_type, tensor = tl.block_type, tl.tensor
    describe, fill = block_type.__init__, tensor.__init__
    kept: dict[tuple[str, tuple[int, ...]], Any] = {}

    def new(cls: type, element_ty: Any, shape: Any) -> Any:
        sizes = tuple([n if type(n) is int else getattr(n, "value", n) for n in shape])
        key = element_ty.name, sizes
        if key in kept:
            return kept[key]
        found: Any = object.__new__(cls)
        describe(found, element_ty, list(sizes))
        like: Any = object.__new__(tensor)
        fill(like, None, found)
        found.sizes, found.like = sizes, (like.shape, like.numel)
        # The name of a pointer's type does not tell its address space, of which 1 is the usual one.
        if len(kept) < MOST_KEPT and getattr(element_ty, "address_space", 1) == 1:
            kept[key] = found
        return found

    def of_type(self: Any, handle: Any, ty: Any) -> None:
        if not isinstance(ty, block_type):
            fill(self, handle, ty)
            return
        self.handle, self.type, self.dtype = handle, ty, ty.element_ty
        self.shape, self.numel = ty.like

    block_type.__new__ = new
    block_type.__init__ = lambda self, element_ty, shape: None
    block_type.kept = kept
    tensor.__init__ = of_type


def _look_up(interpreter: Any) -> None:
    """Look numpy's types up, and unwrap only what may be wrapped."""
    core, slow_dtype, slow_unwrap = (
        interpreter.tl.core,
        interpreter._get_np_dtype,
        interpreter.tl.core._unwrap_if_constexpr,
    )
    dtypes: dict[str, np.dtype] = {}
    plain = {core.tensor, int, bool, str, type(None)}

    def dtype_of(ty: Any) -> np.dtype:
        found = dtypes.get(ty.name)
        if found is None:
            found = slow_dtype(ty)
            if len(dtypes) < MOST_KEPT:
                dtypes[ty.name] = found
        return found

    def unwrap(o: Any) -> Any:
        return o if type(o) in plain else slow_unwrap(o)

    interpreter._get_np_dtype = dtype_of
    core._unwrap_if_constexpr = unwrap


def _leave_alike(interpreter: Any) -> None:
    """Leave blocks of one shape as they are where they would be broadcast, and join and split them at once."""
    semantic, tensor, block_type = interpreter.TritonSemantic, interpreter.tl.tensor, interpreter.tl.block_type
    slow_pair, slow_all = semantic.broadcast_impl_value, semantic.broadcast_tensors
    slow_join, slow_split = semantic.join, semantic.split

    def alike(*blocks: Any) -> bool:
        types = [block.type for block in blocks]
        return all(type(ty) is block_type and ty.sizes == types[0].sizes for ty in types)

    def pair(self: Any, lhs: Any, rhs: Any) -> Any:
        return (lhs, rhs) if alike(lhs, rhs) else slow_pair(self, lhs, rhs)

    def all_of(self: Any, *inputs: Any) -> Any:
        return inputs if alike(*inputs) else slow_all(self, *inputs)

    def join(self: Any, a: Any, b: Any) -> Any:
        if not alike(a, b):
            return slow_join(self, a, b)
        joined = block_type(a.type.element_ty, (*a.type.sizes, 2))
        return tensor(self.builder.create_join(a.handle, b.handle), joined)

    def split(self: Any, a: Any) -> Any:
        if type(a.type) is not block_type or len(a.type.sizes) < 2 or a.type.sizes[-1] != 2:
            return slow_split(self, a)
        half = block_type(a.type.element_ty, a.type.sizes[:-1])
        return tuple([tensor(part, half) for part in self.builder.create_split(a.handle)])

    semantic.broadcast_impl_value, semantic.broadcast_tensors = pair, all_of
    semantic.join, semantic.split = join, split


def _compute_at_once(interpreter: Any) -> None:
    """Take products, sums and differences of blocks of float32, and add 64-bit integers to pointers, at once."""
    tl, handle_of = interpreter.tl, interpreter.TensorHandle
    tensor, block_type, pointer_type = tl.tensor, tl.block_type, tl.pointer_type
    builder, semantic = interpreter.interpreter_builder, interpreter.interpreter_semantic

    def quicker(name: str, act: Callable[..., np.ndarray]) -> None:
        slow, adds = getattr(tensor, name), name == "__add__"

        def quick(self: Any, other: Any) -> Any:
            if type(other) is tensor and type(self.type) is block_type and type(other.type) is block_type:
                mine, given = self.type.sizes, other.type.sizes
                if self.dtype.name == other.dtype.name == "fp32":
                    a, b = self.handle.data, other.handle.data
                    if len(mine) == len(given) and a.shape == mine and b.shape == given:
                        data = act(a, b)
                        return tensor(handle_of(data, self.dtype), block_type(self.dtype, data.shape))
                elif adds and mine == given and other.dtype.name == "int64" and type(self.dtype) is pointer_type:
                    return tensor(builder.create_addptr(self.handle, other.handle), self.type)
            return slow(self, other, _semantic=semantic)

        setattr(tensor, name, quick)

    quicker("__add__", np.add)
    quicker("__sub__", np.subtract)
    quicker("__mul__", np.multiply)


def _move_runs(interpreter: Any) -> None:
    """Read and write addresses that follow one another in runs."""
    builder, handle_of, dtype_of = interpreter.InterpreterBuilder, interpreter.TensorHandle, interpreter._get_np_dtype
    slow_load, slow_store = builder.create_masked_load, builder.create_masked_store

    def load(self: Any, ptrs: Any, mask: Any, *how: Any) -> Any:
        element_ty = ptrs.get_element_ty()
        dtype = dtype_of(element_ty)
        found = runs(ptrs.data, mask.data, dtype.itemsize)
        if found is None:
            return slow_load(self, ptrs, mask, *how)
        data = np.empty(ptrs.data.shape, dtype)
        for address, place, size in found:
            ctypes.memmove(data.ctypes.data + place, address, size)
        return handle_of(data, element_ty)

    def store(self: Any, ptrs: Any, value: Any, mask: Any, *how: Any) -> Any:
        data = np.ascontiguousarray(value.data)
        fits = data.shape == ptrs.data.shape and data.dtype == dtype_of(ptrs.get_element_ty())
        found = runs(ptrs.data, mask.data, data.itemsize) if fits else None
        if found is None:
            return slow_store(self, ptrs, value, mask, *how)
        for address, place, size in found:
            ctypes.memmove(address, data.ctypes.data + place, size)
        return None

    builder.create_masked_load, builder.create_masked_store = load, store
    builder.moves_runs = True


def _name_types() -> None:
    """Name the types of whole numbers and of lent arrays here: Triton imports PyTorch to do so."""
    from triton.runtime import jit

    slow = jit.mangle_type

    def named(arg: Any, specialize: bool = False) -> str:
        if type(arg) is int and not specialize and -(2**31) <= arg < 2**31:
            return "i32"
        return getattr(arg, "pointer", None) or slow(arg, specialize)

    jit.mangle_type = named


def runs(addresses: np.ndarray, mask: np.ndarray, itemsize: int) -> list[tuple[int, int, int]] | None:
    """Cut addresses into runs that follow one another.

    Args:
        addresses: of the elements of a block, uint64.
        mask: which of them are meant.
        itemsize: bytes of an element.

    Returns:
        Of each run its address, its place among the bytes of the block, and its size in bytes; None where an element
        is masked out, or the runs are many.

    >>> runs(np.array([[80, 84], [40, 44]], np.uint64), np.ones((2, 2), bool), 4)
    [(80, 0, 8), (40, 8, 8)]
    """
    if mask.shape != addresses.shape or not mask.all():
        return None
    flat = addresses.reshape(-1)
    cuts = np.flatnonzero(flat[1:] - flat[:-1] != itemsize)
    if len(cuts) >= MOST_RUNS:
        return None
    starts = [0, *(cuts + 1).tolist()]
    ends = [*starts[1:], len(flat)]
    return [
        (address, start * itemsize, (end - start) * itemsize)
        for address, start, end in zip(flat[starts].tolist(), starts, ends, strict=True)
    ]
