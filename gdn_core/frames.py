"""How a program and its worker process talk: frames over pipes, and no pickle.

A frame is eight bytes, the lengths of a header and of a body, both little-endian uint32; then the header in JSON; then
the body, the bytes of the arrays that the header describes, one after the other.
"""

from __future__ import annotations

import json
import math
import struct
from typing import IO, Any

import numpy as np

Header = dict[str, Any]
Arrays = dict[str, np.ndarray]

LENGTHS = struct.Struct("<II")
DTYPES = ("float32", "int64")


def write_frame(stream: IO[bytes], header: Header, arrays: Arrays) -> None:
    """Send a header and its arrays, each float32 or int64."""
    described = [[name, array.dtype.name, list(array.shape)] for name, array in arrays.items()]
    head = json.dumps({**header, "arrays": described}).encode()
    stream.write(LENGTHS.pack(len(head), sum(array.nbytes for array in arrays.values())) + head)
    stream.writelines(np.ascontiguousarray(array).data.cast("B") for array in arrays.values())
    stream.flush()


def read_frame(stream: IO[bytes]) -> tuple[Header, Arrays]:
    """Receive a header and its arrays, which may be written to.

    Raises:
        EOFError: if the stream ends before the frame does.
        ValueError: if the body is not what the header describes.
    """
    size, rest = LENGTHS.unpack(_exactly(stream, LENGTHS.size))
    header = json.loads(_exactly(stream, size))
    body = _exactly(stream, rest)
    arrays: Arrays = {}
    start = 0
    for name, dtype, shape in header.pop("arrays"):
        if dtype not in DTYPES:
            raise ValueError(f"{name}: expected one of {', '.join(DTYPES)}, got {dtype}")
        arrays[name] = np.frombuffer(body, dtype, math.prod(shape), start).reshape(shape)
        start += arrays[name].nbytes
    if start != rest:
        raise ValueError(f"frame: expected {start} bytes of arrays, got {rest}")
    return header, arrays


def _exactly(stream: IO[bytes], size: int) -> bytearray:
    """Read ``size`` bytes."""
    data = bytearray(size)
    view = memoryview(data)
    filled = 0
    while filled < size:
        count = stream.readinto(view[filled:])  # type: ignore[attr-defined]
        if not count:
            raise EOFError
        filled += count
    return data
