""".npy and .npz to arrays, without pickle.

The header of an .npy is NumPy's own to read. It promises a shape and a dtype, which are compared with the limits and
with the bytes that are there before any number is read; :func:`numpy.load` would allocate first.

Source: the .npy format as NumPy documents it (numpy.lib.format, versions 1.0 and 2.0; 3.0 is for records alone); an
.npz is a zip of them.
"""

from __future__ import annotations

import io
import math
import re
import struct
import tokenize
import zipfile
import zlib

import numpy as np
from numpy.lib import format as npy

from gdn_core.lab.limits import LIMITS, size
from gdn_core.ops.checks import shown

MOST_HEADER = 4096  # bytes; a plain array's takes 128
MOST_AXES = 8

_HEADERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
_KINDS = {"i": "integers", "u": "integers", "b": "booleans", "c": "complex numbers", "U": "text", "S": "text"}
# What NumPy's reader, and Python's of literals behind it, raise at a header that is none.
_NO_HEADER = (ValueError, TypeError, SyntaxError, KeyError, tokenize.TokenError, RecursionError, MemoryError)
# What zipfile raises at an archive that is not as it should be.
_DAMAGED = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, struct.error, OverflowError)


def read_npy(place: str, alone: str, data: bytes) -> dict[str, np.ndarray]:
    """Read an .npy, which a sentence calls ``place``; its array is called ``alone``."""
    return {alone: _array(place, data)}


def read_npz(place: str, _: str, data: bytes) -> dict[str, np.ndarray]:
    """Read an .npz, which a sentence calls ``place``."""
    if data[:1] == b"\x80":
        raise ValueError(f"{place}: expected a zip archive as numpy.savez writes it, got a pickle, which is never read")
    # Each entry of a zip's directory begins so: they are counted before zipfile makes an object of each.
    if data.count(b"PK\x01\x02") > LIMITS.arrays:
        raise ValueError(f"{place}: expected at most {LIMITS.arrays} arrays, got more")
    try:
        archive = zipfile.ZipFile(io.BytesIO(data))
    except (ValueError, *_DAMAGED) as error:
        raise _damaged(place) from error
    with archive:
        members = archive.infolist()
        _check_members(place, members)
        return {
            member.filename.removesuffix(".npy"): _array(
                f"{place}, {shown(member.filename)}", _unpacked(place, archive, member)
            )
            for member in members
        }


def _array(place: str, data: bytes) -> np.ndarray:
    """Read one .npy, which a sentence calls ``place``."""
    if data[:1] == b"\x80":
        raise ValueError(f"{place}: expected an array as numpy.save writes it, got a pickle, which is never read")
    stream = io.BytesIO(data)
    shape, fortran, dtype = _header(place, stream)
    wanted, there = math.prod(shape) * dtype.itemsize, len(data) - stream.tell()
    if wanted > LIMITS.unpacked_bytes:
        raise ValueError(
            f"{place}: expected at most {size(LIMITS.unpacked_bytes)} of numbers, got a shape {shown(list(shape))}"
        )
    if wanted != there:
        raise ValueError(
            f"{place}: expected {wanted:,} bytes for shape {list(shape)} of {dtype.name}, got {there:,}: "
            f"the file is {'truncated' if there < wanted else 'damaged'}"
        )
    x = np.frombuffer(data, dtype=dtype, offset=stream.tell())
    return x.reshape(shape, order="F" if fortran else "C").astype(dtype.newbyteorder("="), order="C")


def _header(place: str, stream: io.BytesIO) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Read the shape, the order and the dtype that the header of an .npy promises: literals, and nothing is run."""
    try:
        version = npy.read_magic(stream)
        if version not in _HEADERS:
            raise ValueError("another version")
        shape, fortran, dtype = _HEADERS[version](stream, MOST_HEADER)
    except _NO_HEADER as error:
        raise ValueError(
            f"{place}: expected an array as numpy.save writes it, got something else or a part of one"
        ) from error
    if dtype.hasobject:
        raise TypeError(f"{place}: expected floating-point numbers, got pickled Python objects, which are never read")
    if dtype.names or dtype.subdtype:
        raise TypeError(f"{place}: expected one plain array of floating-point numbers, got an array of records")
    if dtype.kind != "f" or dtype.itemsize not in (2, 4, 8):
        raise TypeError(
            f"{place}: expected float16, float32 or float64, as .astype('float32') gives, got "
            f"{_KINDS.get(dtype.kind, 'something else')} ({shown(dtype.str)})"
        )
    if len(shape) > MOST_AXES or not all(0 <= n < 2**63 for n in shape):
        raise ValueError(f"{place}: expected a shape of at most {MOST_AXES} axes, got {shown(list(shape))}")
    return shape, fortran, dtype


def _unpacked(place: str, archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> bytes:
    """Unpack a member, and no more of it than the directory promises: read() without a number would go on."""
    try:
        with archive.open(member) as stream:
            return stream.read(member.file_size)
    except (ValueError, *_DAMAGED) as error:
        raise _damaged(place) from error


def _damaged(place: str) -> ValueError:
    """Say that an archive cannot be opened."""
    return ValueError(f"{place}: expected a zip archive as numpy.savez writes it, got a truncated or damaged one")


def _check_members(place: str, members: list[zipfile.ZipInfo]) -> None:
    """Check what the directory of a zip promises, before anything is unpacked."""
    names = [member.filename for member in members]
    for member in members:
        quoted = f"{place}, {shown(member.filename)}"
        if not re.fullmatch(r"\w[\w.\- ]{0,100}\.npy", member.filename):
            raise ValueError(f"{quoted}: expected an array such as k.npy, without folders, got another name")
        if names.count(member.filename) > 1:
            raise ValueError(f"{quoted}: expected each array once, got {names.count(member.filename)} of this name")
        if member.flag_bits & 0x41:
            raise ValueError(f"{quoted}: expected no password, got an encrypted array")
        if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise ValueError(f"{quoted}: expected an array stored or deflated, got compression {member.compress_type}")
    total = sum(member.file_size for member in members)
    if total > LIMITS.unpacked_bytes:
        raise ValueError(f"{place}: expected at most {size(LIMITS.unpacked_bytes)} when unpacked, got {size(total)}")
