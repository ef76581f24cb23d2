"""Files to arrays: .npz, .npy, .csv and .safetensors, checked before anything is unpacked, and never by pickle.

What a file promises (members, sizes, shapes, dtypes) is read and compared with the limits and with the bytes that are
there first; only then are numbers read. The header of an .npy is matched, not evaluated.

Source: the .npy format as NumPy documents it (numpy.lib.format, versions 1.0 to 3.0); an .npz is a zip of them.
"""

from __future__ import annotations

import csv
import io
import math
import re
import struct
import zipfile
import zlib
from array import array
from collections.abc import Callable, Iterator, Sequence
from pathlib import PurePosixPath
from typing import Literal

import numpy as np

from gdn_core import extras
from gdn_core.lab.limits import LIMITS, size
from gdn_core.ops.checks import LAYOUTS, shown

KINDS = (".npz", ".npy", ".csv", ".safetensors")

MOST_HEADER = 4096  # bytes; a plain array's takes 128
MOST_DIRECTORY = 2**20  # bytes of the header of a .safetensors, which lists its arrays


def read(name: str, data: bytes) -> dict[str, np.ndarray]:
    """Read the arrays of a file.

    A .npz or .safetensors holds arrays by name. A .npy holds one: it is called as the file (``v.npy`` holds v), or k
    if that is no name of an array. A .csv holds a row a token, separated by comma, semicolon or tab. Its first line
    names the columns: k0, k1, ... for key channels, likewise q, v, and g, beta, w, delta with or without a number.
    Without such a line it holds one array, called as that of a .npy.

    Args:
        name: the file's name, whose ending says the kind.
        data: the whole file.

    Returns:
        Arrays by name, float16, float32 or float64 of this machine's byte order; bfloat16 becomes float32. Names other
        than q, k, v, g, beta, w, delta are kept, for the caller to say that they are not used.

    Raises:
        ModuleNotFoundError: if the file is a .safetensors and that package is not installed.
        TypeError: if an array holds something other than floating-point numbers.
        ValueError: if the file is of another kind, too large, damaged, or would unpack to more than the limits.
    """
    if not isinstance(data, bytes):
        raise TypeError(f"data: expected bytes, got {type(data).__name__}")
    file = _called(name)
    kind = PurePosixPath(file).suffix.lower()
    if kind not in KINDS:
        raise ValueError(f"{shown(file)}: expected a file that ends in {', '.join(KINDS)}")
    most = LIMITS.csv_bytes if kind == ".csv" else LIMITS.file_bytes
    if len(data) > most:
        raise ValueError(f"{shown(file)}: expected at most {size(most)}, got {size(len(data))}")
    if not data:
        raise ValueError(f"{shown(file)}: expected a {kind} file, got an empty one")
    arrays = _READERS[kind](file, data)
    if not arrays:
        raise ValueError(f"{shown(file)}: expected at least one array, got none")
    return arrays


def _called(name: str) -> str:
    """Return a file's name without its folders, whichever system wrote it."""
    return re.split(r"[\\/]", name)[-1]


def _stem(file: str) -> str:
    """Return the name of the one array of a file."""
    stem = PurePosixPath(file).stem
    return stem if stem in LAYOUTS else "k"


# .npy

_DTYPE = re.compile(r"[<>|=]?f[248]")
_DESCR = re.compile(r"""['"]descr['"]\s*:\s*(['"])([^'"]*)\1""")
_ORDER = re.compile(r"""['"]fortran_order['"]\s*:\s*(True|False)\b""")
_SHAPE = re.compile(r"""['"]shape['"]\s*:\s*\(([0-9,\s]*)\)""")


def _npy(file: str, data: bytes) -> dict[str, np.ndarray]:
    return {_stem(file): _array(shown(file), data)}


def _array(place: str, data: bytes) -> np.ndarray:
    """Read one .npy, which a sentence calls ``place``."""
    if data[:1] == b"\x80":
        raise ValueError(f"{place}: expected an array as numpy.save writes it, got a pickle, which is never read")
    if data[:6] != b"\x93NUMPY" or len(data) < 12:
        raise ValueError(f"{place}: expected an array as numpy.save writes it, got something else or a part of one")
    start = 12 if data[6] > 1 else 10  # version 1.0 counts the header in two bytes, later ones in four
    promised = int.from_bytes(data[8:start], "little")
    if promised > MOST_HEADER:
        raise ValueError(f"{place}: expected a header of at most {MOST_HEADER:,} bytes, got {promised:,}")
    dtype, shape, order = _header(place, data[start : start + promised].decode("latin1"))
    wanted, there = math.prod(shape) * dtype.itemsize, len(data) - start - promised
    if wanted > LIMITS.unpacked_bytes:
        raise ValueError(
            f"{place}: expected at most {size(LIMITS.unpacked_bytes)} of numbers, got a shape {shown(list(shape))}"
        )
    if wanted != there:
        raise ValueError(
            f"{place}: expected {wanted:,} bytes for shape {list(shape)} of {dtype.name}, got {max(there, 0):,}: "
            f"the file is {'truncated' if there < wanted else 'damaged'}"
        )
    x = np.frombuffer(data, dtype=dtype, offset=start + promised)
    return x.reshape(shape, order=order).astype(dtype.newbyteorder("="), order="C")


def _header(place: str, text: str) -> tuple[np.dtype, tuple[int, ...], Literal["C", "F"]]:
    """Read the dtype, the shape and the order that the header of an .npy says, by matching it: nothing is run."""
    if re.search(r"""['"]\|?O\d*['"]""", text):
        raise TypeError(f"{place}: expected floating-point numbers, got pickled Python objects, which are never read")
    descr, order, shape = _DESCR.search(text), _ORDER.search(text), _SHAPE.search(text)
    if not descr and "descr" in text:
        raise TypeError(f"{place}: expected one plain array of floating-point numbers, got an array of records")
    if not descr or not order or not shape:
        raise ValueError(f"{place}: expected a header with descr, fortran_order and shape, got {shown(text, 80)}")
    if not _DTYPE.fullmatch(descr[2]):
        raise TypeError(
            f"{place}: expected float16, float32 or float64, as .astype('float32') gives, got {_named(descr[2])}"
        )
    sizes = [part for part in re.split(r"[,\s]+", shape[1]) if part]
    if len(sizes) > 8 or any(len(part) > 18 for part in sizes):
        raise ValueError(f"{place}: expected a shape of at most eight axes, got ({shown(shape[1])})")
    return np.dtype(descr[2]), tuple(map(int, sizes)), "F" if order[1] == "True" else "C"


def _named(descr: str) -> str:
    """Name a dtype that is refused."""
    words = {"i": "integers", "u": "integers", "b": "booleans", "c": "complex numbers", "U": "text", "S": "text"}
    kind = next((words[c] for c in descr if c in words), "something else")
    return f"{kind} ({shown(descr)})"


# .npz

# What zipfile raises at an archive that is not as it should be.
_DAMAGED = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, struct.error, OverflowError)


def _npz(file: str, data: bytes) -> dict[str, np.ndarray]:
    place = shown(file)
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


# .safetensors

_SAFE_DTYPES = {"F16": "<f2", "F32": "<f4", "F64": "<f8"}


def _safe(file: str, data: bytes) -> dict[str, np.ndarray]:
    extras.need("safetensors")
    import safetensors

    place = shown(file)
    promised = int.from_bytes(data[:8], "little")
    if promised > MOST_DIRECTORY and promised <= len(data):
        raise ValueError(f"{place}: expected a header of at most {size(MOST_DIRECTORY)}, got {size(promised)}")
    try:
        members = safetensors.deserialize(data)
    except safetensors.SafetensorError as error:
        raise ValueError(f"{place}: expected a safetensors file, got a truncated or damaged one") from error
    if len(members) > LIMITS.arrays:
        raise ValueError(f"{place}: expected at most {LIMITS.arrays} arrays, got {len(members)}")
    arrays = {}
    for name, member in sorted(members):
        quoted, shape = f"{place}, {shown(name)}", tuple(member["shape"])
        if member["dtype"] == "BF16":
            wide = np.frombuffer(member["data"], dtype="<u2").astype(np.uint32) << np.uint32(16)
            arrays[name] = wide.view(np.float32).reshape(shape)
        elif member["dtype"] in _SAFE_DTYPES:
            x = np.frombuffer(member["data"], dtype=_SAFE_DTYPES[member["dtype"]])
            arrays[name] = x.reshape(shape).astype(x.dtype.newbyteorder("="))
        else:
            raise TypeError(f"{quoted}: expected F16, BF16, F32 or F64, got {shown(member['dtype'])}")
    return arrays


# .csv

Column = tuple[str, int | None]  # the name of an array and its channel

_COLUMN = re.compile(r"([a-z]+)[_.\[]?(\d{1,3})?\]?")


def _csv(file: str, data: bytes) -> dict[str, np.ndarray]:
    place = shown(file)
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise ValueError(f"{place}: expected UTF-8 text, got UTF-16: save it as 'CSV UTF-8'")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{place}: expected UTF-8 text, got byte {data[error.start]:#04x} at {error.start}") from error
    there = text.splitlines()
    if len(there) > LIMITS.csv_lines:
        raise ValueError(f"{place}: expected at most {LIMITS.csv_lines:,} lines, got {len(there):,}")
    first = next((line for line in there if line.strip()), "")
    separator = max((",", ";", "\t"), key=first.count)
    lines = _lines(place, text, separator)
    try:
        number, header = next(lines)
    except StopIteration:
        raise ValueError(f"{place}: expected a line for each token, got no line with anything in it") from None
    if len(header) > LIMITS.csv_columns:
        raise ValueError(f"{place}: expected at most {LIMITS.csv_columns:,} columns, got {len(header):,}")
    numbers = array("d")
    columns: list[Column]
    if all(_is_number(cell) for cell in header):
        stem = _stem(file)
        alone = len(header) == 1 and stem not in ("q", "k", "v")
        columns = [(stem, None if alone else channel) for channel in range(len(header))]
        numbers.extend(_numbers(place, number, header, columns))
    else:
        columns = [_column(f"{place}, line {number}", cell) for cell in header]
        _check_columns(f"{place}, line {number}", columns)
    for number, cells in lines:
        if len(cells) != len(columns):
            raise ValueError(f"{place}, line {number}: expected {len(columns)} cells, as before, got {len(cells)}")
        numbers.extend(_numbers(place, number, cells, columns))
    if not numbers:
        raise ValueError(f"{place}: expected a line for each token after the names of the columns, got none")
    table = np.array(numbers).reshape(-1, len(columns))
    names = dict.fromkeys(name for name, _ in columns)
    return {name: _gathered(table, columns, name) for name in names}


def _lines(place: str, text: str, separator: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the lines that are not empty, each with its number."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                yield reader.line_num, [cell.strip() for cell in cells]
    except csv.Error as error:
        at = f"{place}, line {reader.line_num}"
        raise ValueError(f"{at}: expected cells of numbers, got a damaged one ({error})") from error


def _is_number(cell: str) -> bool:
    """Whether a cell is a number; an underscore is none, though Python reads it as one."""
    try:
        float(cell)
    except ValueError:
        return False
    return "_" not in cell


def _numbers(place: str, line: int, cells: list[str], columns: Sequence[Column]) -> list[float]:
    """Read the cells of a line."""
    for cell, (name, channel) in zip(cells, columns, strict=True):
        if not _is_number(cell) or not math.isfinite(float(cell)):
            column = f"{name}{'' if channel is None else channel}"
            hint = ", with a point and not a comma" if re.fullmatch(r"[-+]?\d*,\d+", cell) else ""
            raise ValueError(
                f"{place}, line {line}, column {column}: expected a finite number{hint}, got {shown(cell)}"
            )
    return [float(cell) for cell in cells]


def _column(place: str, cell: str) -> Column:
    """Read the name of a column: an array and a channel, or a gate alone."""
    match = _COLUMN.fullmatch(cell.strip().lower())
    if not match or match[1] not in LAYOUTS or (match[2] is None and match[1] in ("q", "k", "v")):
        raise ValueError(f"{place}: expected columns such as k0, k1, v0, g, beta, w or delta, got {shown(cell)}")
    return match[1], None if match[2] is None else int(match[2])


def _check_columns(place: str, columns: Sequence[Column]) -> None:
    """Check that every array has its channels from 0 without a gap, each once."""
    for name in dict.fromkeys(name for name, _ in columns):
        channels = [channel for other, channel in columns if other == name]
        if None in channels and len(channels) > 1:
            raise ValueError(f"{place}: expected {name} once or with channels, {name}0 and so on, got both")
        if None not in channels and sorted(c for c in channels if c is not None) != list(range(len(channels))):
            got = ", ".join(f"{name}{channel}" for channel in channels)
            raise ValueError(f"{place}: expected {name}0 to {name}{len(channels) - 1}, each once, got {shown(got, 80)}")


def _gathered(table: np.ndarray, columns: Sequence[Column], name: str) -> np.ndarray:
    """Gather the columns of one array: [T] for a gate alone, [T, channels] otherwise."""
    places = {channel: i for i, (other, channel) in enumerate(columns) if other == name}
    if None in places:
        return table[:, places[None]]
    return table[:, [places[channel] for channel in range(len(places))]]


_READERS: dict[str, Callable[[str, bytes], dict[str, np.ndarray]]] = {
    ".npz": _npz,
    ".npy": _npy,
    ".csv": _csv,
    ".safetensors": _safe,
}
