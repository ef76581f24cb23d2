"""Files to arrays: .npz, .npy, .csv and .safetensors, checked before anything is unpacked, and never by pickle.

What a file promises (members, sizes, shapes, dtypes) is read and compared with the limits and with the bytes that are
there first; only then are numbers read.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import PurePosixPath

import numpy as np

from gdn_core.lab.files.csv_files import read_csv
from gdn_core.lab.files.numpy_files import read_npy, read_npz
from gdn_core.lab.files.safetensors_files import read_safetensors
from gdn_core.lab.limits import LIMITS, size
from gdn_core.ops.checks import LAYOUTS, shown

_READERS: dict[str, Callable[[str, str, bytes], dict[str, np.ndarray]]] = {
    ".npz": read_npz,
    ".npy": read_npy,
    ".csv": read_csv,
    ".safetensors": read_safetensors,
}
KINDS = tuple(_READERS)


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
    file = re.split(r"[\\/]", name)[-1]  # without its folders, whichever system wrote it
    kind = PurePosixPath(file).suffix.lower()
    if kind not in KINDS:
        raise ValueError(f"{shown(file)}: expected a file that ends in {', '.join(KINDS)}")
    most = LIMITS.csv_bytes if kind == ".csv" else LIMITS.file_bytes
    if len(data) > most:
        raise ValueError(f"{shown(file)}: expected at most {size(most)}, got {size(len(data))}")
    if not data:
        raise ValueError(f"{shown(file)}: expected a {kind} file, got an empty one")
    stem = PurePosixPath(file).stem
    arrays = _READERS[kind](shown(file), stem if stem in LAYOUTS else "k", data)
    if not arrays:
        raise ValueError(f"{shown(file)}: expected at least one array, got none")
    return arrays
