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
from gdn_core.lab.files.members import Contents, Found, Member
from gdn_core.lab.files.numpy_files import read_npy, read_npz
from gdn_core.lab.files.safetensors_files import read_safetensors
from gdn_core.lab.limits import LIMITS, size
from gdn_core.lab.names import guesses
from gdn_core.ops.checks import shown

__all__ = ["KINDS", "PICKLED", "Contents", "Member", "contents", "read"]

_READERS: dict[str, Callable[[str, str, bytes], Found]] = {
    ".npz": read_npz,
    ".npy": read_npy,
    ".csv": read_csv,
    ".safetensors": read_safetensors,
}
KINDS = tuple(_READERS)
PICKLED = (".pt", ".pth", ".bin", ".ckpt")  # what torch.save writes


def read(name: str, data: bytes) -> dict[str, np.ndarray]:
    """Read the arrays of a file, as :func:`contents` does, without the list of all that it holds."""
    return contents(name, data).arrays


def contents(name: str, data: bytes) -> Contents:
    """Read the arrays of a file, and list what it holds.

    A .npz or .safetensors holds arrays by name. A .npy holds one: it is called as the file (``v.npy`` holds v), or k
    if that is like no name of an array (:func:`gdn_core.lab.names.guesses`). A .csv holds a row a token, separated by
    comma, semicolon or tab, its numbers with a comma for a point where that does not separate. Its first line names the
    columns: k0, k1, ... for key channels, likewise q, v, and g, beta, w, delta, alpha with or without a number; other
    columns, as an index, are left. Without such a line, or with one that numbers the columns, it holds one array,
    called as that of a .npy.

    Args:
        name: the file's name, whose ending says the kind.
        data: the whole file.

    Returns:
        Arrays of floating-point numbers by name, float16, float32 or float64 of this machine's byte order; bfloat16 and
        8-bit floats become float32. What holds something else is listed and left.

    Raises:
        ModuleNotFoundError: if the file is a .safetensors and that package is not installed.
        TypeError: if no array of it holds floating-point numbers.
        ValueError: if the file is of another kind, too large, damaged, or would unpack to more than the limits.
    """
    if not isinstance(data, bytes):
        raise TypeError(f"data: expected bytes, got {type(data).__name__}")
    file = re.split(r"[\\/]", name)[-1]  # without its folders, whichever system wrote it
    kind = PurePosixPath(file).suffix.lower()
    if kind in PICKLED:
        raise ValueError(_convert(file))
    if kind not in KINDS:
        raise ValueError(f"{shown(file)}: expected a file that ends in {', '.join(KINDS)}")
    most = LIMITS.csv_bytes if kind == ".csv" else LIMITS.file_bytes
    if len(data) > most:
        raise ValueError(f"{shown(file)}: expected at most {size(most)}, got {size(len(data))}")
    if not data:
        raise ValueError(f"{shown(file)}: expected a {kind} file, got an empty one")
    stem = PurePosixPath(file).stem
    found = _READERS[kind](shown(file), stem if guesses([stem]) else "k", data)
    arrays = {member.name: x for member, x in found if isinstance(x, np.ndarray)}
    if not arrays:
        for _, refusal in found:
            if isinstance(refusal, Exception):
                raise refusal
        raise ValueError(f"{shown(file)}: expected at least one array, got none")
    return Contents(arrays, tuple(member for member, _ in found))


def _convert(file: str) -> str:
    """Say how to make a file of torch.save one that can be read, in one line."""
    name = file if re.fullmatch(r"[\w.\- ]{1,60}", file) else "dump.pt"
    line = (
        "import torch; from safetensors.torch import save_file; save_file({n: x.contiguous() for n, x in "
        f"torch.load('{name}', weights_only=True).items()}}, '{PurePosixPath(name).stem}.safetensors')"
    )
    return f'{shown(file)}: a pickle, which is never read here. This line converts it: python -c "{line}"'
