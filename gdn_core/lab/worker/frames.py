"""The protocol between a program and its worker process: frames over pipes, without pickle.

A frame is the length of its header, a little-endian uint32; the header in JSON; and the bytes of the arrays that the
header describes, one after the other.
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
    """Receive a header and its arrays, which are writable.

    Raises:
        EOFError: if the stream ends before the frame does.
        ValueError: if the bytes are not a frame.
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
    """Fill ``data`` from the stream."""
    view = memoryview(data)
    filled = 0
    while filled < len(view):
        count = stream.readinto(view[filled:])  # type: ignore[attr-defined]
        if not count:
            raise EOFError
        filled += count
