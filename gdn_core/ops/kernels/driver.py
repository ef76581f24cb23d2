"""Launch compiled kernels through CUDA's driver, with everything laid out in memory beforehand.

Triton binds, specialises and checks the arguments of every launch, about 40 us of the host. Here the arguments of all
launches of a plan lie in one block of memory, as the driver reads them. A call writes the addresses of its tensors
into it, encodes the tensor maps of addresses that are new, and calls the driver once a launch. What a kernel takes is
compared with what the driver says about it, so that a Triton that lays arguments out in another way is noticed; then
the ordinary launch is used.
"""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

from triton import knobs

from gdn_core.ops.kernels.launches import Grid, Scale

NUMBERS = {"i1": "?", "i8": "b", "i16": "h", "i32": "i", "i64": "q", "u8": "B", "u16": "H", "u32": "I", "u64": "Q"}
NUMBERS |= {"fp32": "f", "f32": "f", "fp64": "d"}
MAP = 128  # bytes of a tensor map
CONFIG = struct.Struct("7I4xQQI4x")  # CUlaunchConfig
STREAM = struct.calcsize("7I4x")  # where the stream is in it
SERIAL = struct.pack("I4xi60x", 6, 1)  # CUlaunchAttribute: may start before the launch before it has ended
MOST_KNOWN = 64  # addresses of which a tensor map is kept: layers of a model share a plan, and each has its own
L2_128 = 2  # CU_TENSOR_MAP_L2_PROMOTION_L2_128B


class Unsupported(Exception):
    """A kernel is not launched as this module knows it."""


class Place(NamedTuple):
    """An address that is known when a plan is run: that of a slot, and a number of bytes behind it."""

    slot: int
    offset: int


@dataclass(frozen=True)
class TensorMap:
    """A tensor map of a tensor at a place: its shape and strides in numbers."""

    place: Place
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    padding: str


@dataclass(frozen=True)
class Compiled:
    """A compiled kernel with its arguments: numbers, ``Place``, ``TensorMap``, ``Scale``, None, or tuples of them."""

    kernel: Any
    grid: Grid
    arguments: tuple[Any, ...]


class _Functions(NamedTuple):
    launch: Any
    encode: Any
    parameter: Any


@cache
def _functions() -> _Functions:
    """Find the functions of the driver.

    Raises:
        Unsupported: if there is no driver, or one older than CUDA 12.4.
    """
    try:
        library = ctypes.CDLL("libcuda.so.1")
        found = _Functions(library.cuLaunchKernelEx, library.cuTensorMapEncodeTiled, library.cuFuncGetParamInfo)
    except (OSError, AttributeError) as error:
        raise Unsupported(str(error)) from None
    p, i = ctypes.c_void_p, ctypes.c_uint
    found.launch.argtypes = [p, p, p, p]
    found.encode.argtypes = [p, i, i, p, p, p, p, p, i, i, i, i]
    found.parameter.argtypes = [p, ctypes.c_size_t, p, p]
    return found


def hooked(kernels: Sequence[Any]) -> bool:
    """Tell whether somebody, a profiler perhaps, wants to see the launches of these kernels."""
    runtime = knobs.runtime
    for hook in (runtime.launch_enter_hook, runtime.launch_exit_hook):
        if getattr(hook, "calls", hook):
            return True
    return any(kernel.pre_run_hooks for kernel in kernels)


def _parameters(kernel: Any, types: Any, arguments: Any, maps: list[Any]) -> list[tuple[str, Any]]:
    """Pair what a kernel takes with its arguments, flat and without constants; a type is a format of ``struct``."""
    found: list[tuple[str, Any]] = []
    for kind, x in zip(types, arguments, strict=True):
        if isinstance(kind, tuple):
            found += _parameters(kernel, kind, x, maps)
        elif kind == "constexpr":
            continue
        elif kind.startswith("*") and isinstance(x, Place):
            found.append(("Q", x))
        elif kind.startswith("tensordesc") and isinstance(x, TensorMap) and maps:
            found.append(("map", (x, maps.pop(0))))
            found += [("i", n) for n in x.shape] + [("q", n) for n in x.strides]
        elif kind in NUMBERS and isinstance(x, int | float):
            found.append((NUMBERS[kind], x))
        else:
            raise Unsupported(f"an argument of type {kind}")
    return found


def _check(kernel: Any, sizes: list[int]) -> None:
    """Compare the bytes of each argument with what the driver says that the kernel takes."""
    parameter, size = _functions().parameter, ctypes.c_size_t()
    offset = ctypes.c_size_t()
    for i, n in enumerate(sizes):
        if parameter(kernel.function, i, ctypes.byref(offset), ctypes.byref(size)) != 0 or size.value != n:
            raise Unsupported(f"{kernel.name} takes {size.value} bytes for argument {i}, not {n}")
    if parameter(kernel.function, len(sizes), ctypes.byref(offset), ctypes.byref(size)) == 0:
        raise Unsupported(f"{kernel.name} takes more than {len(sizes)} arguments")


class Block:
    """The launches of a plan, laid out in memory. One thread at a time may run it."""

    def __init__(self, launches: Sequence[Compiled]) -> None:
        self._size = 0
        self._written: list[tuple[int, bytes]] = []
        self._places: dict[Place, int] = {}  # and their number among the addresses that a run writes
        numbers: dict[tuple[str, Any], int] = {}
        maps: dict[Any, tuple[int, TensorMap, Any]] = {}
        described = [self._described(x) for x in launches]
        for parameters in described:
            for kind, x in parameters:
                if kind in ("Q", "map") and not isinstance(x, int):
                    self._places.setdefault(x if kind == "Q" else x[0].place, len(self._places))
        self._head = struct.Struct(f"{len(self._places)}Qf")
        self._scale_at = 8 * len(self._places)
        self._take(self._head.size, 8)
        calls = []
        for x, parameters in zip(launches, described, strict=True):
            addresses = []
            for kind, value in parameters:
                if kind == "map":
                    key = (value[0], str(value[1]))
                    if key not in maps:
                        maps[key] = (self._take(MAP, MAP), *value)
                    addresses.append(maps[key][0])
                elif isinstance(value, Place):
                    addresses.append(8 * self._places[value])
                elif isinstance(value, Scale):
                    if kind != "f":
                        raise Unsupported(f"a scale of type {kind}")
                    addresses.append(self._scale_at)
                else:
                    if (kind, value) not in numbers:
                        numbers[kind, value] = self._put(struct.pack(kind, value), 8)
                    addresses.append(numbers[kind, value])
            nothing = self._put(bytes(8), 8)  # for the two scratch buffers, which are not used
            addresses += [nothing, nothing]
            calls.append((x, addresses))
        self._finish(calls, maps)

    def _described(self, x: Compiled) -> list[tuple[str, Any]]:
        kernel, facts = x.kernel, x.kernel.metadata
        if facts.num_ctas != 1 or facts.launch_cooperative_grid or facts.global_scratch_size:
            raise Unsupported(f"how {kernel.name} is launched")
        if facts.profile_scratch_size or len(x.grid) > 3:
            raise Unsupported(f"how {kernel.name} is launched")
        maps = list(getattr(facts, "tensordesc_meta", None) or ())
        parameters = _parameters(kernel, kernel.src.signature.values(), x.arguments, maps)
        _check(kernel, [MAP if kind == "map" else struct.calcsize(kind) for kind, _ in parameters] + [8, 8])
        return parameters

    def _take(self, size: int, alignment: int) -> int:
        """Reserve bytes of the block, and return where they are."""
        at = -(-self._size // alignment) * alignment
        self._size = at + size
        return at

    def _put(self, content: bytes, alignment: int) -> int:
        at = self._take(len(content), alignment)
        self._written.append((at, content))
        return at

    def _finish(self, calls: list[tuple[Compiled, list[int]]], maps: dict[Any, tuple[int, TensorMap, Any]]) -> None:
        """Write everything that does not change, now that the sizes are known."""
        serial = self._put(SERIAL, 8)
        params = [self._take(8 * len(addresses), 8) for _, addresses in calls]
        configs = [self._take(CONFIG.size, 8) for _ in calls]
        self._memory = ctypes.create_string_buffer(self._size + MAP)
        base = ctypes.addressof(self._memory)
        start = -base % MAP  # tensor maps are aligned
        base += start
        self._start, self._configs, self._stream = start, [start + at for at in configs], -1
        for at, content in self._written:
            ctypes.memmove(base + at, content, len(content))
        self._launches = []
        for (x, addresses), array, config in zip(calls, params, configs, strict=True):
            struct.pack_into(f"{len(addresses)}Q", self._memory, start + array, *(base + at for at in addresses))
            facts = x.kernel.metadata
            pdl = bool(facts.launch_pdl)
            grid = (*x.grid, 1, 1)[:3]
            CONFIG.pack_into(
                self._memory, start + config, *grid, 32 * facts.num_warps, 1, 1, facts.shared, 0,
                base + serial if pdl else 0, int(pdl),
            )  # fmt: skip
            if all(grid):
                self._launches.append((base + config, x.kernel.function, base + array, None))
        self._maps = [self._encoder(base + at, *of) for at, *of in maps.values()]
        self._encoded = [-1] * len(self._maps)
        self._known: list[dict[int, bytes]] = [{} for _ in self._maps]
        self._of = list(self._places)
        self._kernels = [x.kernel for x, _ in calls]  # alive, since their functions are called

    def _encoder(self, at: int, x: TensorMap, facts: Any) -> tuple[int, tuple[Any, ...], tuple[Any, ...]]:
        """Return the number of a map's address, and what the driver takes before and after the address to encode it."""
        from triton.backends.nvidia.driver import TMA_DTYPE_DEVICE_TO_HOST

        if facts["fp4_padded"]:
            raise Unsupported("a tensor map of padded numbers")
        rank, size = len(x.shape), facts["elem_size"]
        shape = (ctypes.c_uint64 * rank)(*reversed(x.shape))
        steps = [size * n for n in reversed(x.strides[:-1])]
        strides = (ctypes.c_uint64 * rank)(*steps, shape[rank - 1] * (steps[-1] if steps else size))
        box, ones = (ctypes.c_uint32 * rank)(*reversed(facts["block_size"])), (ctypes.c_uint32 * rank)(*[1] * rank)
        kind = TMA_DTYPE_DEVICE_TO_HOST[facts["elem_type"]]
        behind = (shape, strides, box, ones, 0, facts["swizzle"], L2_128, int(x.padding == "nan"))
        return self._places[x.place], (at, kind, rank), behind

    def _encode(
        self, before: tuple[Any, ...], address: int, behind: tuple[Any, ...], known: dict[int, bytes]
    ) -> bool:
        """Write the tensor map of an address, as it is known or as the driver encodes it."""
        if address in known:
            ctypes.memmove(before[0], known[address], MAP)
            return True
        if _functions().encode(*before, address, *behind) != 0:
            return False
        if len(known) >= MOST_KNOWN:
            known.clear()
        known[address] = ctypes.string_at(before[0], MAP)
        return True

    def run(self, slots: Sequence[int], scale: float, stream: int) -> bool:
        """Launch everything.

        Args:
            slots: the address of each slot.
            scale: factor on the queries.
            stream: CUDA's handle of the stream.

        Returns:
            Whether the driver took every launch; if it did not, everything is to be launched again.
        """
        functions = _functions()
        addresses = [slots[slot] + offset for slot, offset in self._of]
        self._head.pack_into(self._memory, self._start, *addresses, scale)
        encoded = self._encoded
        for i, (place, before, behind) in enumerate(self._maps):
            address = addresses[place]
            if address != encoded[i]:
                encoded[i] = -1
                if not self._encode(before, address, behind, self._known[i]):
                    return False
                encoded[i] = address
        if stream != self._stream:
            for at in self._configs:
                struct.pack_into("Q", self._memory, at + STREAM, stream)
            self._stream = stream
        launch = functions.launch
        launch = functions.launch
        for arguments in self._launches:  # noqa: SIM110  # a generator costs more
            if launch(*arguments) != 0:
                return False
        return True
