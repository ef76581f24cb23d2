"""A .safetensors to arrays."""

from __future__ import annotations

import numpy as np

from gdn_core import extras
from gdn_core.lab.limits import LIMITS, size
from gdn_core.ops.checks import shown

MOST_DIRECTORY = 2**20  # bytes of the header of a .safetensors, which lists its arrays
_SAFE_DTYPES = {"F16": "<f2", "F32": "<f4", "F64": "<f8"}


def read_safetensors(place: str, _: str, data: bytes) -> dict[str, np.ndarray]:
    """Read a .safetensors, which a sentence calls ``place``."""
    extras.need("safetensors")
    import safetensors

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
