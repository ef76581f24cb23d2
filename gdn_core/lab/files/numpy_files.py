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
from dataclasses import dataclass

import numpy as np
from numpy.lib import format as npy

from gdn_core.lab.files.members import NARROW, Found, LeftError, Member, widened
from gdn_core.lab.limits import LIMITS, size
from gdn_core.ops.checks import shown

MOST_HEADER = 4096  # bytes; a plain array's takes 128
MOST_AXES = 8

_HEADERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
_BITS = {2: "bfloat16", 1: "float8_e4m3fn"}
# How a header names a type that NumPy does not know. NumPy cannot read its own name of E5M2, a float of one byte.
_NAMED = {name: name for name in NARROW} | {"<f1": "float8_e5m2", "|f1": "float8_e5m2"}
_KINDS = {"i": "integers", "u": "integers", "b": "booleans", "c": "complex numbers", "U": "text", "S": "text"}
# What NumPy's reader, and Python's of literals behind it, raise at a header that is none.
_NO_HEADER = (ValueError, TypeError, SyntaxError, KeyError, tokenize.TokenError, RecursionError, MemoryError)
# What zipfile raises at an archive that is not as it should be.
_DAMAGED = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, struct.error, OverflowError)


def read_npy(place: str, alone: str, data: bytes) -> Found:
    """Read an .npy, which a sentence calls ``place``; its array is called ``alone``."""
    promise = _promised(place, data)
    return [(Member(alone, promise.shape, promise.said), _array(place, data, promise))]


def read_npz(place: str, _: str, data: bytes) -> Found:
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
        promises = {m.filename: _looked_at(place, archive, m) for m in _checked_once(place, archive.infolist())}
        total = sum(archive.getinfo(name).file_size for name, x in promises.items() if isinstance(x, _Promise))
        if total > LIMITS.unpacked_bytes:
            raise ValueError(
                f"{place}: expected at most {size(LIMITS.unpacked_bytes)} when unpacked, got {size(total)}"
            )
        found: Found = []
        for filename, promise in promises.items():
            name = filename.removesuffix(".npy")
            if isinstance(promise, _Promise):
                unpacked = _unpacked(place, archive, archive.getinfo(filename))
                x = _array(f"{place}, {shown(filename)}", unpacked, promise)
                found.append((Member(name, promise.shape, promise.said), x))
            else:
                shape, dtype = (promise.shape, promise.dtype) if isinstance(promise, LeftError) else ((), "")
                found.append((Member(name, shape, dtype, str(promise)), promise))
        return found


def _looked_at(place: str, archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> _Promise | Exception:
    """Return what a member promises, or why it is left; no more of it is unpacked than a header takes."""
    quoted = f"{place}, {shown(member.filename)}"
    if not re.fullmatch(r"[\w(\[][\w.\-/: \[\](),'+=@#|]{0,160}\.npy", member.filename) or ".." in member.filename:
        return ValueError(f"{quoted}: expected an array such as k.npy, got another name")
    if member.flag_bits & 0x41:
        return ValueError(f"{quoted}: expected no password, got an encrypted array")
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        return ValueError(f"{quoted}: expected an array stored or deflated, got compression {member.compress_type}")
    try:
        return _promised(quoted, _unpacked(place, archive, member, MOST_HEADER + 16))
    except LeftError as error:
        return error


@dataclass(frozen=True)
class _Promise:
    """What the header of an .npy promises.

    Args:
        shape: sizes.
        fortran: whether the first axis varies fastest.
        dtype: how its bytes are read; unsigned integers for a format that NumPy has no type for.
        said: what the numbers are called.
        offset: where they begin.
    """

    shape: tuple[int, ...]
    fortran: bool
    dtype: np.dtype
    said: str
    offset: int


def _array(place: str, data: bytes, promise: _Promise) -> np.ndarray:
    """Read the numbers of one .npy, which a sentence calls ``place``."""
    shape, dtype = promise.shape, promise.dtype
    wanted, there = math.prod(shape) * dtype.itemsize, len(data) - promise.offset
    if wanted > LIMITS.unpacked_bytes:
        raise ValueError(
            f"{place}: expected at most {size(LIMITS.unpacked_bytes)} of numbers, got a shape {shown(list(shape))}"
        )
    if wanted != there:
        raise ValueError(
            f"{place}: expected {wanted:,} bytes for shape {list(shape)} of {promise.said}, got {there:,}: "
            f"the file is {'truncated' if there < wanted else 'damaged'}"
        )
    x = np.frombuffer(data, dtype=dtype, offset=promise.offset)
    x = widened(x, promise.said) if promise.said in NARROW else x
    return x.reshape(shape, order="F" if promise.fortran else "C").astype(x.dtype.newbyteorder("="), order="C")


def _promised(place: str, data: bytes) -> _Promise:
    """Read the shape, the order and the dtype that the header of an .npy promises: literals, and nothing is run.

    NumPy writes most types of ml_dtypes as so many bytes without a meaning: two are taken for bfloat16, one for E4M3,
    the 8-bit floats that models have. E5M2 it writes as a float of one byte. Where a name stands there it is taken at
    its word.
    """
    if data[:1] == b"\x80":
        raise ValueError(f"{place}: expected an array as numpy.save writes it, got a pickle, which is never read")
    named, data = _unnamed(data)
    stream = io.BytesIO(data)
    try:
        version = npy.read_magic(stream)
        if version not in _HEADERS:
            raise ValueError("another version")
        shape, fortran, dtype = _HEADERS[version](stream, MOST_HEADER)
    except _NO_HEADER as error:
        raise ValueError(
            f"{place}: expected an array as numpy.save writes it, got something else or a part of one"
        ) from error
    sizes = shape if len(shape) <= MOST_AXES else ()
    if dtype.hasobject:
        sentence = f"{place}: expected floating-point numbers, got pickled Python objects, which are never read"
        raise LeftError(sentence, sizes, "objects")
    if dtype.names or dtype.subdtype:
        sentence = f"{place}: expected one plain array of floating-point numbers, got an array of records"
        raise LeftError(sentence, sizes, "records")
    said = dtype.newbyteorder("=").name
    if dtype.kind == "V" and dtype.itemsize in _BITS:
        said = named or _BITS[dtype.itemsize]
        dtype = np.dtype(f"<u{dtype.itemsize}")
    elif dtype.kind != "f" or dtype.itemsize not in (2, 4, 8):
        raise LeftError(
            f"{place}: expected float16, float32 or float64, as .astype('float32') gives, got "
            f"{_KINDS.get(dtype.kind, 'something else')} ({shown(dtype.str)})",
            sizes,
            "text" if dtype.kind in "SU" else said,
        )
    if len(shape) > MOST_AXES or not all(0 <= n < 2**63 for n in shape):
        raise ValueError(f"{place}: expected a shape of at most {MOST_AXES} axes, got {shown(list(shape))}")
    return _Promise(shape, fortran, dtype, said, stream.tell())


def _unnamed(data: bytes) -> tuple[str, bytes]:
    """Write so many bytes for the name of a type that NumPy does not know, in a header of the same length."""
    head = data[:MOST_HEADER]
    for written, name in _NAMED.items():
        quoted = f"'descr': '{written}'".encode()
        if (at := head.find(quoted)) >= 0:
            plain = f"'descr': '|V{2 if name == 'bfloat16' else 1}'".encode()
            return name, data[:at] + plain.ljust(len(quoted)) + data[at + len(quoted) :]
    return "", data


def _unpacked(place: str, archive: zipfile.ZipFile, member: zipfile.ZipInfo, most: int | None = None) -> bytes:
    """Unpack a member, and no more of it than the directory promises: read() without a number would go on."""
    try:
        with archive.open(member) as stream:
            return stream.read(member.file_size if most is None else min(most, member.file_size))
    except (ValueError, *_DAMAGED) as error:
        raise _damaged(place) from error


def _damaged(place: str) -> ValueError:
    """Say that an archive cannot be opened."""
    return ValueError(f"{place}: expected a zip archive as numpy.savez writes it, got a truncated or damaged one")


def _checked_once(place: str, members: list[zipfile.ZipInfo]) -> list[zipfile.ZipInfo]:
    """Check that no two members have one name."""
    names = [member.filename for member in members]
    for name in names:
        if names.count(name) > 1:
            quoted = f"{place}, {shown(name)}"
            raise ValueError(f"{quoted}: expected each array once, got {names.count(name)} of this name")
    return members
