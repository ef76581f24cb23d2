"""The memory of kernels: buffers at addresses, what was written to them and by which program, and how that fails."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from derivations.engines.ir.carrier import EMPTY, Unsound

SLOT = 1 << 40  # addresses of a buffer, in entries: an offset that is wrong ends in no other buffer
_START = SLOT >> 1  # the address of its first entry, behind that of the slot
UNWRITTEN = {True: EMPTY, False: -(1 << 62)}  # an entry that was never written, of floats and of integers
_NOBODY = -1


class Buffer:
    """A buffer, in entries.

    Args:
        name: the argument that it is given for, in messages.
        size: the number of its entries.
        element: their type, such as ``f32``.
        entries: what is in it; by default it was never written.
    """

    def __init__(self, name: str, size: int, element: str, entries: np.ndarray | None = None) -> None:
        self.name, self.element = name, element
        self.floating = element.startswith(("f", "bf"))
        self.entries = np.full(size, UNWRITTEN[self.floating]) if entries is None else entries
        self.writer: np.ndarray | None = None  # the program that wrote each entry in this launch
        self.lane = np.empty(0, np.int64)  # the last lane of a store to each entry

    def launched(self) -> None:
        """Forget who wrote what: a launch sees all that launches before it wrote."""
        self.writer = None


class Memory:
    """All buffers of a chain of launches."""

    def __init__(self) -> None:
        self.buffers: list[Buffer] = []

    def add(self, buffer: Buffer) -> int:
        """Add a buffer; return the address of its first entry."""
        self.buffers.append(buffer)
        return (len(self.buffers) - 1) * SLOT + _START

    def launched(self) -> None:
        """Begin a launch."""
        for buffer in self.buffers:
            buffer.launched()

    def _buffer(self, addresses: np.ndarray, element: str, what: str) -> tuple[Buffer, np.ndarray]:
        """Return the buffer that addresses are in, and the places in it."""
        low, high = int(addresses.min()), int(addresses.max())
        slot = low // SLOT
        if not 0 <= slot < len(self.buffers) or high // SLOT != slot:
            raise Unsound(f"{what} through addresses of several buffers, or of none")
        buffer, start = self.buffers[slot], slot * SLOT + _START
        if low < start or high >= start + len(buffer.entries):
            at = low - start if low < start else high - start
            raise Unsound(f"{what} {buffer.name} outside of it: entry {at} of {len(buffer.entries)}")
        if element != buffer.element and not {element, buffer.element} <= {"i1", "i8"}:
            raise Unsound(f"{what} {buffer.name} as {element}, which holds {buffer.element}")
        return buffer, addresses - start

    def load(self, addresses: np.ndarray, programs: Callable[[], np.ndarray], element: str) -> np.ndarray:
        """Read entries; addresses are flat, and so are the programs that read them.

        Raises:
            Unsound: outside of a buffer, of what another program writes, or of integers that were never written.
        """
        buffer, places = self._buffer(addresses, element, "reads")
        found = buffer.entries[places]
        if not buffer.floating and (lost := found == UNWRITTEN[False]).any():
            at = int(places[int(lost.argmax())])
            raise Unsound(f"reads entry {at} of {buffer.name}, which was never written")
        if buffer.writer is not None:
            writer = buffer.writer[places]
            if (other := (writer != _NOBODY) & (writer != programs())).any():
                at = int(places[int(other.argmax())])
                raise Unsound(f"reads entry {at} of {buffer.name}, which another program of the launch writes")
        return found

    def store(self, addresses: np.ndarray, values: np.ndarray, programs: np.ndarray, element: str) -> None:
        """Write entries; all arguments are flat.

        Raises:
            Unsound: outside of a buffer, twice to one address, or of another number than another program writes.
        """
        buffer, places = self._buffer(addresses, element, "writes")
        lanes = np.arange(len(places))
        if buffer.writer is None:
            buffer.writer = np.full(len(buffer.entries), _NOBODY, np.int32)
            buffer.lane = np.empty(len(buffer.entries), np.int64)
        buffer.lane[places] = lanes
        last = buffer.lane[places]
        twice = last != lanes
        if twice.any():
            if (same := twice & (programs == programs[last])).any():
                raise Unsound(f"writes entry {int(places[int(same.argmax())])} of {buffer.name} twice in one store")
            _differ(buffer, places, twice & (values != values[last]))
        writer = buffer.writer[places]
        other = (writer != _NOBODY) & (writer != programs)
        if other.any():
            _differ(buffer, places, other & (buffer.entries[places] != values))
        buffer.entries[places] = values
        buffer.writer[places] = programs


def _differ(buffer: Buffer, places: np.ndarray, wrong: np.ndarray) -> None:
    if wrong.any():
        at = int(places[int(wrong.argmax())])
        raise Unsound(f"two programs of a launch write different numbers to entry {at} of {buffer.name}")


class Descriptor:
    """A tensor map: a tensor in memory, of which tiles are read and written.

    Args:
        address: of its first entry.
        shape: its sizes.
        strides: the distance of entries along each axis.
        tile: the sizes of a tile.
    """

    def __init__(self, address: int, shape: Sequence[int], strides: Sequence[int], tile: Sequence[int]) -> None:
        self.address, self.shape, self.strides, self.tile = address, tuple(shape), tuple(strides), tuple(tile)

    def addresses(self, starts: Sequence[np.ndarray]) -> tuple[Any, Any]:
        """Return the addresses of tiles that start at these indices, and which of them are inside."""
        addresses: Any = np.int64(self.address)
        inside: Any = np.bool_(True)
        for axis, start in enumerate(starts):
            index = start[:, None] + np.arange(self.tile[axis])
            index = index.reshape(len(start), *(-1 if i == axis else 1 for i in range(len(starts))))
            addresses = addresses + index * self.strides[axis]
            inside = inside & (index >= 0) & (index < self.shape[axis])
        return addresses, inside
