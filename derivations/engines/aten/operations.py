"""What each ATen operation does to exact entries. In-place and ``out=`` variants follow from the plain ones."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from functools import cache, lru_cache
from typing import Any

import torch

from derivations.engines.aten.numbers import EMPTY, Entries, NotModelled, Unsound
from derivations.engines.aten.tensors import Computation, Exact, Magnitude, Meaning

# Views, and what moves entries without looking at them.
_MOVES = frozenset((
    "view", "_unsafe_view", "_reshape_alias", "alias", "detach", "expand", "transpose", "t", "permute", "slice",
    "select", "unsqueeze", "squeeze", "narrow", "split", "split_with_sizes", "unbind", "unfold", "diagonal",
    "as_strided", "clone", "flip", "roll", "repeat", "index_select", "gather", "constant_pad_nd",
))  # fmt: skip
FACTORIES = frozenset((
    "empty", "empty_strided", "empty_like", "new_empty", "new_empty_strided", "zeros", "zeros_like", "new_zeros",
    "ones", "ones_like", "new_ones", "full", "full_like", "new_full", "eye", "scalar_tensor",
))  # fmt: skip
_ORDERS: dict[str, Callable[..., Any]] = {name: getattr(operator, name) for name in ("lt", "le", "gt", "ge")}
Number = int | float | bool
_MEANINGS: dict[str, Meaning] = {}


@cache
def meaning(func: Any) -> Meaning | None:
    """Return what an ATen operation does; None if it has no meaning here."""
    name = func.overloadpacket.__name__
    if func.namespace != "aten":
        return None
    if name in _MEANINGS:
        return _MEANINGS[name]
    if name in _MOVES:
        return _moved
    if name in FACTORIES:
        return _made
    plain = _PLAIN.get(name.removesuffix("_"))
    if plain is None:
        return None

    def run(mode: Computation, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        out = kwargs.pop("out", args[0] if name.endswith("_") else None)
        entries, dtype = plain(mode, *args, **kwargs)
        if not isinstance(dtype, torch.dtype):  # an ordinary tensor, of truth values
            return entries
        if name.removesuffix("_") not in _ROUNDS_NOTHING:
            mode.computed.add(dtype)
        if out is None:
            return Exact(entries, dtype)
        if not isinstance(out, Exact):
            raise NotModelled(f"{func} into a tensor that was made outside of the program")
        if list(out.shape) != list(entries.shape):
            raise Unsound(f"{func}: writes {list(entries.shape)} into a tensor {list(out.shape)}")
        mode.cast(dtype, out.dtype)
        out.entries.copy_(entries)
        return out

    return run


def _named(*names: str) -> Callable[[Meaning], Meaning]:
    def add(run: Meaning) -> Meaning:
        _MEANINGS.update(dict.fromkeys(names, run))
        return run

    return add


# Moves.


def _moved(mode: Computation, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    dtype = next(x.dtype for x in args if isinstance(x, Exact))
    if func.overloadpacket.__name__ == "constant_pad_nd":
        x, pad, *value = args
        args = (x, pad, mode.numbers.mask(value[0]) if value else 0)
    moved = func(*(x.entries if isinstance(x, Exact) else x for x in args), **kwargs)
    return [Exact(x, dtype) for x in moved] if isinstance(moved, list | tuple) else Exact(moved, dtype)


@_named("cat", "stack")
def _joined(mode: Computation, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    tensors, *rest = args
    dtype = _promoted(*tensors)
    return Exact(func([mode.entries(x) for x in tensors], *rest, **kwargs), dtype)


@_named("index")
def _indexed(mode: Computation, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    x, places = args
    return Exact(func(x.entries, places), x.dtype)


@_named("index_put_", "_index_put_impl_", "index_put")
def _put(mode: Computation, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    x, places, values, *accumulate = args
    if not isinstance(x, Exact):
        raise NotModelled(f"{func} into a tensor that was made outside of the program")
    if accumulate and accumulate[0]:
        raise NotModelled(f"{func} with accumulate")
    mode.cast(values.dtype, x.dtype)
    if func.overloadpacket.__name__ == "index_put":
        return Exact(x.entries.index_put(places, mode.entries(values)), x.dtype)
    x.entries.index_put_(places, mode.entries(values))
    return x


@_named("copy_")
def _copied(mode: Computation, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    to, of = args[:2]
    if not isinstance(to, Exact):
        raise NotModelled(f"{func} into a tensor that was made outside of the program")
    mode.cast(of.dtype, to.dtype)
    to.entries.copy_(mode.entries(of))
    return to


@_named("_to_copy", "to")
def _cast(mode: Computation, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    (x,) = args
    dtype = kwargs.get("dtype") or x.dtype
    mode.cast(x.dtype, dtype)
    contiguous = kwargs.get("memory_format") is torch.contiguous_format
    entries = x.entries.clone(memory_format=torch.contiguous_format if contiguous else torch.preserve_format)
    return Exact(entries, dtype)


@_named("lift_fresh", "lift")
def _same(mode: Computation, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    return args[0]


def _made(mode: Computation, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Run a factory that takes its type and sizes from an exact tensor."""
    name, (x, *rest) = func.overloadpacket.__name__, args
    dtype = kwargs.pop("dtype", None) or x.dtype
    kwargs.pop("memory_format", None)
    if not dtype.is_floating_point:
        return func(x.entries, *rest, dtype=dtype, **kwargs)
    made = func(x.entries, *rest[:1], *([0] if "full" in name else []), dtype=torch.int64, **kwargs)
    if "empty" in name:
        made.fill_(EMPTY)
    if "full" in name:
        made.fill_(mode.numbers.mask(rest[-1]))
    return Exact(made, dtype)


@_named("fill_", "zero_")
def _filled(mode: Computation, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    x, *value = args
    if value and value[0] != value[0]:  # NaN: what PyTorch fills new memory with where it is asked to
        x.entries.fill_(EMPTY)
    else:
        x.entries.copy_(_filling(mode, value[0] if value else 0))
    return x


@_named("_local_scalar_dense", "item")
def _read(mode: Computation, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    raise NotModelled("a number that Python reads back from a tensor (item, tolist, if)")


# Arithmetic: functions that return entries and the type of the result, or a tensor of truth values and None.

Plain = tuple[Any, torch.dtype | None]


def _promoted(*operands: Any) -> torch.dtype:
    """Return the type that PyTorch gives to an elementwise result."""
    key = tuple((x.dtype, x.ndim == 0) if isinstance(x, torch.Tensor) else type(x) for x in operands)
    return _promotion(key)


@lru_cache(None)
def _promotion(key: tuple[Any, ...]) -> torch.dtype:
    samples = [torch.zeros(() if k[1] else (1,), dtype=k[0]) if isinstance(k, tuple) else k(1) for k in key]
    found = torch.result_type(samples[0], samples[1]) if len(samples) > 1 else samples[0].dtype
    for sample in samples[2:]:
        found = torch.promote_types(found, torch.result_type(samples[0], sample))
    return found


def _same_type(name: str, *operands: Any) -> torch.dtype:
    types = {x.dtype for x in operands}
    if len(types) > 1:
        raise RuntimeError(f"{name}: expected tensors of one dtype, got {', '.join(sorted(map(str, types)))}")
    return types.pop()


def _filling(mode: Computation, value: Any) -> Entries:
    return mode.entries(value) if isinstance(value, torch.Tensor) else torch.tensor(mode.numbers.mask(value))


def _sign(alpha: Number) -> int:
    if alpha not in (1, -1):
        raise NotModelled(f"a sum with the factor alpha = {alpha}")
    return int(alpha)


def _add(mode: Computation, a: Any, b: Any, *, alpha: Number = 1, **_: Any) -> Plain:
    return mode.numbers.add(mode.entries(a), mode.entries(b), _sign(alpha)), _promoted(a, b)


def _sub(mode: Computation, a: Any, b: Any, *, alpha: Number = 1, **_: Any) -> Plain:
    return mode.numbers.add(mode.entries(a), mode.entries(b), -_sign(alpha)), _promoted(a, b)


def _rsub(mode: Computation, a: Any, b: Any, alpha: Number = 1) -> Plain:
    return mode.numbers.add(mode.entries(b), mode.entries(a), -_sign(alpha)), _promoted(a, b)


def _mul(mode: Computation, a: Any, b: Any) -> Plain:
    return mode.numbers.multiply(mode.entries(a), mode.entries(b)), _promoted(a, b)


def _div(mode: Computation, a: Any, b: Any) -> Plain:
    return mode.numbers.multiply(mode.entries(a), mode.numbers.invert(mode.entries(b))), _promoted(a, b)


def _reciprocal(mode: Computation, a: Exact) -> Plain:
    return mode.numbers.invert(a.entries), a.dtype


def _sqrt(mode: Computation, a: Exact) -> Plain:
    return mode.numbers.root(a.entries), a.dtype


def _rsqrt(mode: Computation, a: Exact) -> Plain:
    return mode.numbers.invert(mode.numbers.root(a.entries)), a.dtype


def _neg(mode: Computation, a: Exact) -> Plain:
    return mode.numbers.negate(a.entries), a.dtype


def _pow(mode: Computation, a: Exact, exponent: Any) -> Plain:
    if exponent not in (0, 1, 2, 3, 4):
        raise NotModelled(f"a power with the exponent {exponent}")
    power = torch.ones_like(a.entries)
    for _ in range(int(exponent)):
        power = mode.numbers.multiply(power, a.entries)
    return power, a.dtype


def _exp(mode: Computation, a: Exact) -> Plain:
    return mode.numbers.exponential(a.entries), a.dtype


def _exp2(mode: Computation, a: Exact) -> Plain:
    return mode.numbers.exponential(a.entries, base_2=True), a.dtype


def _sum(mode: Computation, a: Exact, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Plain:
    dims = [] if dim is None else [dim] if isinstance(dim, int) else list(dim)
    mode.cast(a.dtype, dtype or a.dtype)
    return mode.numbers.total(a.entries, dims, keepdim=keepdim), dtype or a.dtype


def _cumsum(mode: Computation, a: Exact, dim: int, *, dtype: Any = None) -> Plain:
    mode.cast(a.dtype, dtype or a.dtype)
    return mode.numbers.cumulated(a.entries, dim), dtype or a.dtype


def _mm(mode: Computation, a: Any, b: Any) -> Plain:
    return mode.numbers.product(mode.entries(a), mode.entries(b)), _same_type("a matrix product", a, b)


def _addmm(mode: Computation, c: Any, a: Any, b: Any, *, beta: Number = 1, alpha: Number = 1) -> Plain:
    n = mode.numbers
    product = n.product(mode.entries(a), mode.entries(b))
    if alpha != 1:
        product = n.multiply(product, mode.entries(alpha))
    if beta == 0:  # as PyTorch does, which does not read c then
        return product, _same_type("a matrix product", a, b)
    scaled = mode.entries(c) if beta == 1 else n.multiply(mode.entries(c), mode.entries(beta))
    return n.add(scaled, product), _same_type("a matrix product", c, a, b)


def _addcmul(mode: Computation, c: Any, a: Any, b: Any, *, value: Number = 1) -> Plain:
    n = mode.numbers
    product = n.multiply(mode.entries(a), mode.entries(b))
    if value != 1:
        product = n.multiply(product, mode.entries(value))
    return n.add(mode.entries(c), product), _promoted(c, a, b)


def _solve(
    mode: Computation, A: Any, B: Any, *, upper: bool, left: bool = True, unitriangular: bool = False
) -> Plain:  # fmt: skip
    a, b, dtype = mode.entries(A), mode.entries(B), _same_type("solve_triangular", A, B)
    if left:
        return mode.numbers.solve(a, b, upper=upper, unit=unitriangular), dtype
    return mode.numbers.solve(a.mT, b.mT, upper=not upper, unit=unitriangular).mT, dtype


def _where(mode: Computation, where: torch.Tensor, a: Any, b: Any) -> Plain:
    return torch.where(where, _filling(mode, a), _filling(mode, b)), _promoted(a, b)


def _masked_fill(mode: Computation, a: Exact, mask: torch.Tensor, value: Any) -> Plain:
    if not mask.any():  # so that a mask of what is not finite may fill with NaN
        return a.entries.expand(torch.broadcast_shapes(a.shape, mask.shape)).clone(), a.dtype
    return torch.where(mask, _filling(mode, value), a.entries), a.dtype


def _tril(mode: Computation, a: Exact, diagonal: int = 0) -> Plain:
    return a.entries.tril(diagonal), a.dtype


def _triu(mode: Computation, a: Exact, diagonal: int = 0) -> Plain:
    return a.entries.triu(diagonal), a.dtype


def _order(name: str) -> Callable[..., Plain]:
    def run(mode: Computation, a: Any, b: Any) -> Plain:
        left, right = (mode.numbers.nats(x.entries) if isinstance(x, Exact) else x for x in (a, b))
        return _ORDERS[name](left, right), None

    return run


@_named("abs")
def _abs(mode: Computation, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    return Magnitude(args[0].entries, args[0].dtype)


def _eq(mode: Computation, a: Any, b: Any) -> Plain:
    if isinstance(a, Magnitude):
        if b != torch.inf:
            raise NotModelled("the absolute value of a number, which has no order here")
        return ~mode.numbers.finite(a.entries), None
    return mode.numbers.same(_filling(mode, a), _filling(mode, b)), None


def _ne(mode: Computation, a: Any, b: Any) -> Plain:
    return ~_eq(mode, a, b)[0], None


def _extreme(name: str) -> Callable[..., Plain]:
    def run(mode: Computation, a: Exact, *dims: Any) -> Plain:
        mode.numbers.nats(a.entries)
        order = torch.where(a.entries == 0, 1 << 60, a.entries)
        order = torch.where(a.entries == (1 << 62), -1, order)
        if dims:
            raise NotModelled(f"{name} over an axis")
        return a.entries.flatten()[getattr(order.flatten(), f"arg{name[-3:]}")()], a.dtype

    return run


def _nan(mode: Computation, a: Exact) -> Plain:
    return torch.zeros_like(mode.numbers.finite(a.entries)), None


_PLAIN: dict[str, Callable[..., Plain]] = {
    "add": _add, "sub": _sub, "rsub": _rsub, "mul": _mul, "div": _div, "reciprocal": _reciprocal, "neg": _neg,
    "pow": _pow, "exp": _exp, "exp2": _exp2, "sqrt": _sqrt, "rsqrt": _rsqrt, "sum": _sum, "cumsum": _cumsum,
    "mm": _mm, "bmm": _mm, "mv": _mm, "dot": _mm, "addmm": _addmm, "baddbmm": _addmm, "addcmul": _addcmul,
    "linalg_solve_triangular": _solve, "where": _where, "masked_fill": _masked_fill, "tril": _tril, "triu": _triu,
    "eq": _eq, "ne": _ne,
    **{name: _order(name) for name in _ORDERS},
    "min": _extreme("min"), "max": _extreme("max"), "amin": _extreme("amin"), "amax": _extreme("amax"),
    "isnan": _nan,
}  # fmt: skip


_ROUNDS_NOTHING = frozenset((
    "neg", "where", "masked_fill", "tril", "triu", "min", "max", "amin", "amax",
))  # fmt: skip


def known() -> Sequence[str]:
    """Return the names of the ATen operations that have a meaning, without in-place variants."""
    return sorted({*_MOVES, *FACTORIES, *_PLAIN, *_MEANINGS})
