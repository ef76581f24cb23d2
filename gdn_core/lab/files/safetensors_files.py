"""A .safetensors to arrays."""

from __future__ import annotations

import numpy as np

from gdn_core import extras
from gdn_core.lab.files.members import Found, Member, widened
from gdn_core.lab.limits import LIMITS, size
from gdn_core.ops.checks import shown

MOST_DIRECTORY = 2**20  # bytes of the header of a .safetensors, which lists its arrays
_NARROW = {"BF16": "bfloat16", "F8_E4M3": "float8_e4m3fn", "F8_E5M2": "float8_e5m2"}
_SAFE_DTYPES = {"F16": "<f2", "F32": "<f4", "F64": "<f8"}


def read_safetensors(place: str, _: str, data: bytes) -> Found:
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
    found: Found = []
    for name, member in sorted(members):
        quoted, shape, dtype = f"{place}, {shown(name)}", tuple(member["shape"]), member["dtype"]
        if dtype in _NARROW:
            said = _NARROW[dtype]
            raw = np.frombuffer(member["data"], dtype="<u2" if said == "bfloat16" else "u1")
            found.append((Member(name, shape, said), widened(raw, said).reshape(shape)))
        elif dtype in _SAFE_DTYPES:
            x = np.frombuffer(member["data"], dtype=_SAFE_DTYPES[dtype])
            x = x.reshape(shape).astype(x.dtype.newbyteorder("="), copy=False)
            found.append((Member(name, shape, x.dtype.name), x))
        else:
            refusal = TypeError(f"{quoted}: expected F16, BF16, F32 or F64, got {shown(dtype)}")
            found.append((Member(name, shape, str(dtype).lower(), str(refusal)), refusal))
    total = sum(x.nbytes for _, x in found if isinstance(x, np.ndarray))
    if total > LIMITS.unpacked_bytes:
        raise ValueError(f"{place}: expected at most {size(LIMITS.unpacked_bytes)} when unpacked, got {size(total)}")
    return found
