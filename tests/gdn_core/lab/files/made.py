"""Files as bytes, whole and made by hand, and the sentence that refuses one."""

import io
import json
import re
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest

from gdn_core.lab.files import read

X = np.arange(15.0).reshape(5, 3) - 7


def npy(x, **options) -> bytes:
    stream = io.BytesIO()
    np.save(stream, x, **options)
    return stream.getvalue()


def npz(save=np.savez, **named) -> bytes:
    stream = io.BytesIO()
    save(stream, **named)
    return stream.getvalue()


def zipped(members: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return stream.getvalue()


def raw_npy(header: str, payload: bytes = b"", *, version: int = 1) -> bytes:
    length = struct.pack("<H" if version == 1 else "<I", len(header))
    return b"\x93NUMPY" + bytes([version, 0]) + length + header.encode() + payload


def raw_safetensors(header, payload: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + payload


def member(dtype="F32", shape=(2,), offsets=(0, 8)):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


def refused(name: str, data, sentence: str, kind: type[Exception] = ValueError) -> None:
    with pytest.raises(kind, match=f"^{re.escape(sentence)}$"):
        read(name, data)


class Bomb:
    """What leaves a file when it is unpickled."""

    def __reduce__(self):
        return Path.touch, (Path("pickle-was-run"),)
