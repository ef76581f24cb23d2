"""Checks of arguments: numbers, names, arrays and their sizes.

An error message is one sentence: the argument, what was expected, what came. The checks use shapes, dtypes and
comparisons only, so they work on NumPy arrays and torch tensors alike, and this module does not import torch.
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

Array = Any  # anything with .shape and .dtype

FLOATS = ("bfloat16", "float16", "float32", "float64")

# The API's layouts: the axes of each array, the widest last.
LAYOUTS: dict[str, tuple[tuple[str, ...], ...]] = {
    "q": (("B", "T", "H", "K"),),
    "k": (("B", "T", "H", "K"),),
    "v": (("B", "T", "HV", "V"),),
    "g": (("B", "T", "HV"), ("B", "T", "HV", "K")),
    "beta": (("B", "T", "HV"), ("B", "T", "HV", "K")),
    "w": (("B", "T", "HV"), ("B", "T", "HV", "V")),
    "delta": (("B", "T", "HV"), ("B", "T", "HV", "V")),
}


@dataclass(frozen=True)
class Dimensions:
    """The sizes that a set of arrays agrees on."""

    B: int
    T: int
    H: int
    HV: int
    K: int
    V: int


def shown(value: object, most: int = 40) -> str:
    """Quote a caller's value for an error message: printable characters only, at most ``most`` of them."""
    text = f"{float(value):g}" if isinstance(value, numbers.Real) and not isinstance(value, bool | int) else repr(value)
    return text if len(text) <= most else text[: most - 3] + "..."


def check_integer(name: str, value: object, low: int, high: int) -> int:
    """Return an integer of low to high.

    Raises:
        TypeError: if it is no integer.
        ValueError: if it is out of range.
    """
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise TypeError(f"{name}: expected an integer from {low} to {high}, got {shown(value)}")
    value = int(value)
    if not low <= value <= high:
        raise ValueError(f"{name}: expected an integer from {low} to {high}, got {shown(value)}")
    return value


def check_number(name: str, value: object, low: float, high: float, *, above: bool = False) -> float:
    """Return a number of low to high, or above low.

    Raises:
        TypeError: if it is no number.
        ValueError: if it is NaN or out of range.
    """
    range_ = f"a number above {low:g} and at most {high:g}" if above else f"a number from {low:g} to {high:g}"
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(f"{name}: expected {range_}, got {shown(value)}")
    number = float(value)
    if not low <= number <= high or (above and number == low):  # NaN fails the comparison
        raise ValueError(f"{name}: expected {range_}, got {shown(value)}")
    return number


def check_choice(name: str, value: object, choices: Collection[str]) -> str:
    """Return one of the choices.

    Raises:
        ValueError: if it is none of them.
    """
    if not isinstance(value, str) or value not in choices:
        raise ValueError(f"{name}: expected one of {', '.join(choices)}, got {shown(value)}")
    return value


def check_floating(name: str, x: Array) -> None:
    """Check that x is an array of floating-point numbers.

    Raises:
        TypeError: if it is no array, or holds something else.
    """
    if not hasattr(x, "shape") or not hasattr(x, "dtype"):
        raise TypeError(f"{name}: expected an array, got {type(x).__name__}")
    dtype = x.dtype
    if not (dtype.is_floating_point if hasattr(dtype, "is_floating_point") else dtype.kind == "f"):  # torch, NumPy
        raise TypeError(f"{name}: expected floating-point numbers, got {dtype}")
    if str(dtype).removeprefix("torch.") not in FLOATS:
        raise TypeError(f"{name}: expected floating-point numbers in {', '.join(FLOATS)}, got {dtype}")


def check_shape(name: str, x: Array, layouts: Sequence[Sequence[str]], sizes: Mapping[str, int]) -> None:
    """Check the shape of x against one or more layouts; an axis that ``sizes`` does not name may have any size.

    Raises:
        ValueError: if x has none of them.
    """
    shape = list(x.shape)  # of symbols, where a compiler traces
    for axes in layouts:
        if len(axes) == len(shape) and [sizes.get(axis, n) for axis, n in zip(axes, shape, strict=True)] == shape:
            return
    wanted = []
    for axes in layouts:
        known = [str(sizes.get(axis, axis)) for axis in axes]
        wanted.append(f"[{', '.join(axes)}]" + (f" = [{', '.join(known)}]" if set(axes) & set(sizes) else ""))
    raise ValueError(f"{name}: expected {' or '.join(wanted)}, got {shape}")


def check_heads(H: int, HV: int) -> None:
    """Check that the value heads share the key heads in equal groups.

    Raises:
        ValueError: if HV is no multiple of H.
    """
    if HV % H:
        raise ValueError(f"v: expected HV, its number of heads, to be a multiple of H = {H}, that of k, got HV = {HV}")


def check_device(arrays: Mapping[str, Array]) -> None:
    """Check that all arrays that have a device are on the same one.

    Raises:
        ValueError: if one is on another device.
    """
    places = {name: str(x.device) for name, x in arrays.items() if hasattr(x, "device")}
    for name, place in places.items():
        first, there = next(iter(places.items()))
        if place != there:
            raise ValueError(f"{name}: expected device {there}, where {first} is, got {place}")


def check_layout(arrays: Mapping[str, Array], *, ranks: Collection[int] = (4,), no_tokens: bool = False) -> Dimensions:
    """Check arrays of the API's layout against each other: type, rank, every size, heads and device.

    Args:
        arrays: k [B, T, H, K] and v [B, T, HV, V]; and any of q as k, g and beta [B, T, HV] or [B, T, HV, K], w and
            delta [B, T, HV] or [B, T, HV, V].
        ranks: the ranks that k may have. At rank 3 no array has B, at rank 2 none has B or heads: k [T, K], g [T].
        no_tokens: whether T may be 0.

    Raises:
        TypeError: if one is no array of floating-point numbers.
        ValueError: if k or v is missing, a name is unknown, a size differs or is 0, HV is no multiple of H, or one is
            on another device.
    """
    for name in arrays:
        check_choice("arrays", name, LAYOUTS)
    for name in ("k", "v"):
        if name not in arrays:
            raise ValueError(f"{name}: expected an array, got none")
    for name, x in arrays.items():
        check_floating(name, x)
    check_device(arrays)
    rank = len(arrays["k"].shape)
    check_shape("k", arrays["k"], [axes for r in ranks for axes in layouts_of("k", r)], {})
    sizes = _sizes("k", arrays["k"], rank)
    check_shape("v", arrays["v"], layouts_of("v", rank), sizes)
    sizes |= _sizes("v", arrays["v"], rank)
    for axis, n in sizes.items():
        if n == 0 and not (no_tokens and axis == "T"):
            raise ValueError(f"{'v' if axis in ('HV', 'V') else 'k'}: expected {AXES[axis]}, got 0")
    check_heads(sizes.get("H", 1), sizes.get("HV", 1))
    for name, x in arrays.items():
        if name not in ("k", "v"):  # these two gave the sizes
            check_shape(name, x, layouts_of(name, rank), sizes)
    return Dimensions(**{"B": 1, "H": 1, "HV": 1, **sizes})


def check_gates(arrays: Mapping[str, Array], sizes: Dimensions, channels: Mapping[str, str] | None = None) -> None:
    """Check gates: one number for each token and head, or one for each of its channels.

    Args:
        arrays: the gates.
        sizes: the sizes of the arrays they go with.
        channels: the axis, K or V, of each gate that has a number for each channel.

    Raises:
        TypeError: if one is no array of floating-point numbers.
        ValueError: if one has another shape.
    """
    for name, x in arrays.items():
        check_floating(name, x)
        axes = ("B", "T", "HV", *(channels or {}).get(name, ""))
        check_shape(name, x, (axes,), {axis: getattr(sizes, axis) for axis in axes})


def check_states(name: str, x: Array, sizes: Dimensions, *, N: int, state_v_first: bool) -> None:
    """Check initial states; the message for one in the other layout says so.

    Args:
        name: the argument's name.
        x: a memory for each sequence and head.
        sizes: the sizes of the arrays it goes with.
        N: how many sequences there are.
        state_v_first: whether V comes before K.

    Raises:
        TypeError: if it is no array of floating-point numbers.
        ValueError: if its shape is not that of the layout.
    """
    check_floating(name, x)
    layouts = (("N", "HV", "K", "V"), ("N", "HV", "V", "K"))
    wanted, other = reversed(layouts) if state_v_first else layouts
    known = {"N": N, "HV": sizes.HV, "K": sizes.K, "V": sizes.V}
    if sizes.K != sizes.V and list(x.shape) == [known[axis] for axis in other]:
        raise ValueError(
            f"{name}: expected [{', '.join(wanted)}] = {[known[axis] for axis in wanted]}, got the other layout, "
            f"{list(x.shape)}: pass state_v_first={not state_v_first}, or transpose it"
        )
    check_shape(name, x, (wanted,), known)


def check_packing(name: str, x: Array, sizes: Dimensions) -> int:
    """Check the shape and dtype of the bounds of packed sequences, and return the number of sequences.

    Raises:
        TypeError: if they are no array of integers.
        ValueError: if there are fewer than two bounds, or B is not 1.
    """
    if not hasattr(x, "shape") or not hasattr(x, "dtype"):
        raise TypeError(f"{name}: expected an array of integers, got {type(x).__name__}")
    if str(x.dtype).removeprefix("torch.") not in ("int32", "int64"):
        raise TypeError(f"{name}: expected int32 or int64, got {x.dtype}")
    shape = list(x.shape)
    if len(shape) != 1 or shape[0] < 2:
        raise ValueError(f"{name}: expected [N + 1], the bounds of at least one sequence, got {shape}")
    if sizes.B != 1:
        raise ValueError(f"{name}: expected B = 1 with packed sequences, got B = {sizes.B}: lay them end to end")
    return shape[0] - 1


def check_bounds(name: str, bounds: Sequence[int], T: int) -> None:
    """Check the bounds of packed sequences: they start at 0, never decrease, and end at T at most.

    Raises:
        ValueError: at the first bound that breaks this.
    """
    if bounds[0] != 0:
        raise ValueError(f"{name}: expected to begin with 0, got {bounds[0]}")
    for i, (before, after) in enumerate(pairwise(bounds)):
        if after < before:
            raise ValueError(f"{name}: expected bounds that never go down, got {before}, {after} at {i}")
    if bounds[-1] > T:
        raise ValueError(f"{name}: expected to end with T = {T} at most, got {bounds[-1]}")


def layouts_of(name: str, rank: int) -> Sequence[tuple[str, ...]]:
    """Return the layouts that an array may have where k has this rank: 4, 3 (no B), or 2 (no B and no heads)."""
    if rank == 4:
        return LAYOUTS[name]
    left_out = {3: ("B",), 2: ("B", "H", "HV")}[rank]
    return [tuple(axis for axis in axes if axis not in left_out) for axes in LAYOUTS[name]]


def _sizes(name: str, x: Array, rank: int) -> dict[str, int]:
    """Name the sizes of k or v."""
    return dict(zip(layouts_of(name, rank)[0], x.shape, strict=True))


AXES = {
    "B": "at least one sequence",
    "T": "at least one token",
    "H": "at least one key head",
    "HV": "at least one value head",
    "K": "at least one key channel",
    "V": "at least one value channel",
}


def check_values(
    name: str, x: Array, low: float = -math.inf, high: float = math.inf, *, meaning: str = "", start: int = 0
) -> None:
    """Check that every number of x is finite and lies in low to high.

    Args:
        name: the argument's name.
        x: NumPy array or torch tensor of floating-point numbers.
        low: the smallest number allowed.
        high: the largest number allowed.
        meaning: what the numbers are, for the message.
        start: index of x on the first axis of the caller's array, if x is a part of it.

    Raises:
        ValueError: at the first number that is NaN, infinite or out of range, with its place.
    """
    of = f" {meaning}" if meaning else " numbers"
    finite = abs(x) < math.inf  # False at NaN too
    if not bool(finite.all()):
        bad, wanted = ~finite, f"finite{of}"
    else:
        inside = (x >= low) & (x <= high)
        if bool(inside.all()):
            return
        bad = ~inside
        wanted = f"{of.strip()}, at most {high:g}" if math.isinf(low) else f"{of.strip()} from {low:g} to {high:g}"
    place = _unravel(int((bad.reshape(-1) * 1).argmax()), [int(n) for n in x.shape])
    number = float(x[tuple(place)])
    if place:
        place[0] += start
    raise ValueError(f"{name}: expected {wanted}, got {number:g} at {place}")


def _unravel(index: int, shape: Sequence[int]) -> list[int]:
    """Return the place of the index-th number of an array of this shape."""
    place = []
    for n in reversed(shape):
        index, i = divmod(index, n)
        place.append(i)
    return place[::-1]
