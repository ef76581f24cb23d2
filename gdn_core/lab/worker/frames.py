"""How a program and its worker process talk: frames over pipes, and no pickle.

A frame is four bytes, the length of a header as a little-endian uint32; then the header in JSON; then the bytes of the
arrays that the header describes, one after the other.
"""

from __future__ import annotations

import json
import struct
from typing import IO, Any

import numpy as np

Header = dict[str, Any]
Arrays = dict[str, np.ndarray]

LENGTH = struct.Struct("<I")
DTYPES = ("float32", "int64")


def write_frame(stream: IO[bytes], header: Header, arrays: Arrays) -> None:
    """Send a header and its arrays, each float32 or int64 and not empty."""
    described = [[name, array.dtype.name, list(array.shape)] for name, array in arrays.items()]
    head = json.dumps({**header, "arrays": described}).encode()
    stream.write(LENGTH.pack(len(head)) + head)
    stream.writelines(np.ascontiguousarray(array).data.cast("B") for array in arrays.values())
    stream.flush()


def read_frame(stream: IO[bytes]) -> tuple[Header, Arrays]:
    """Receive a header and its arrays, which may be written to.

    Raises:
        EOFError: if the stream ends before the frame does.
        ValueError: if what comes is not a frame.
    """
    length = bytearray(LENGTH.size)
    _fill(stream, length)
    head = bytearray(*LENGTH.unpack(length))
    _fill(stream, head)
    header = json.loads(head)
    arrays: Arrays = {}
    for name, dtype, shape in header.pop("arrays"):
        if dtype not in DTYPES:
            raise ValueError(f"{name}: expected one of {', '.join(DTYPES)}, got {dtype}")
        arrays[name] = np.empty(shape, dtype)
        _fill(stream, arrays[name].data.cast("B"))
    return header, arrays


def _fill(stream: IO[bytes], data: bytearray | memoryview) -> None:
    """Read as many bytes as ``data`` holds into it."""
    view = memoryview(data)
    filled = 0
    while filled < len(view):
        count = stream.readinto(view[filled:])  # type: ignore[attr-defined]
        if not count:
            raise EOFError
        filled += count
