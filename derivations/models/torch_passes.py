"""The passes of the PyTorch forms that run, and their comparison with the recurrence at many sizes.

A pass is a function of a size and its tensors that returns outputs and last memories, or gradients by name. PyTorch is
imported where one runs and not by this module, so that claims can be listed without it.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from importlib import import_module
from typing import Any

from derivations.claim import Code
from derivations.engines.field import is_counting
from derivations.models import torch_sizes
from derivations.models.torch_sizes import Size
from derivations.mutants.by_hand import misprinted as misprinted_function

FORMS = "gdn_core.ops.torch"
Pass = Callable[..., Any]
Residuals = Iterator[dict[str, Any]]


def module(name: str) -> Any:
    """Import a module of the PyTorch forms."""
    return import_module(f"{FORMS}.{name}")


def forms() -> Any:
    """Import the model of the forms: streams, and their oracle."""
    return import_module("derivations.models.torch_forms")


def code(*names: str) -> tuple[Code, ...]:
    """Return functions of the PyTorch forms by module and name, such as ``chunk.forward``."""
    return tuple(Code(f"{FORMS}.{of}", function) for of, function in (name.split(".") for name in names))


def misprinted(name: str, right: str, wrong: str) -> AbstractContextManager[None]:
    """Replace one place in the source of a function or method, such as ``chunk._Span.put``, in a ``with`` block."""
    of, *names = name.split(".")
    function = module(of)
    for part in names:
        function = getattr(function, part)
    return misprinted_function(function, right, wrong)


def _given(x: dict[str, Any]) -> list[Any]:
    """Return the tensors of the tokens in the order of the functions, the write gate last."""
    erase = x["b"] if x["beta"] is None else x["beta"]
    return [x["q"], x["k"], x["v"], x["g"], erase, x["w"]]


def _cu_seqlens(size: Size) -> Any:
    return import_module("torch").tensor(size.bounds) if size.lengths else None


def chunk(size: Size, x: dict[str, Any]) -> Any:
    """Run the chunk form."""
    *given, w = _given(x)
    return module("sequences").forward(*given, x["S"], _cu_seqlens(size), scale=forms().SCALE, w=w)


def steps(size: Size, x: dict[str, Any]) -> Any:
    """Run short sequences token by token and long ones in chunks."""
    *given, w = _given(x)
    return module("sequences").steps(*given, x["S"], _cu_seqlens(size), scale=forms().SCALE, w=w)


def recurrent(size: Size, x: dict[str, Any]) -> Any:
    """Run the recurrence of scalar gates."""
    *given, _ = _given(x)
    return module("recurrent").recurrent(*given, scale=forms().SCALE, initial_state=x["S"])


def vmapped(size: Size, x: dict[str, Any]) -> Any:
    """Run the reference under ``torch.vmap``; its memories are [V, K]."""
    *given, w = _given(x)
    memory = None if x["S"] is None else x["S"].mT
    write = given[-1] if size.rule.tied else w
    o, S = module("reference").recurrent(*given, write, scale=forms().SCALE, initial_state=memory)
    return o, S.mT


def vmapped_by_default(size: Size, x: dict[str, Any]) -> Any:
    """Run the same with the scale and the write gate left at their defaults: queries are scaled before."""
    q, k, v, g, b, _ = _given(x)
    memory = None if x["S"] is None else x["S"].mT
    o, S = module("reference").recurrent(q * forms().SCALE, k, v, g, b, initial_state=memory)
    return o, S.mT


def differentiable(size: Size, x: dict[str, Any]) -> Any:
    """Run the form that PyTorch differentiates."""
    *given, w = _given(x)
    return module("differentiable").chunk(*given, x["S"], _cu_seqlens(size), scale=forms().SCALE, w=w)


def gradients(size: Size, x: dict[str, Any], do: Any, dS: Any) -> dict[str, Any]:
    """Run the chunk form and its backward pass."""
    sequences, bounds, scale, (*given, w) = module("sequences"), _cu_seqlens(size), forms().SCALE, _given(x)
    kept = sequences.room(x["v"], size.K, bounds, erase=given[-1] is not None)
    sequences.forward(*given, x["S"], bounds, scale=scale, w=w, kept=kept)
    found = _named(size, sequences.backward(do, dS, *given, bounds, scale=scale, w=w, kept=kept))
    return found | {f"kept {name}": x for name, x in kept._asdict().items()}


def wide_chunk(size: Size, x: dict[str, Any]) -> Any:
    """Run the chunk form for gates by channel, whatever their widths are."""
    return module("channels").forward(*_given(x), scale=forms().SCALE, initial_state=x["S"])


def wide_recurrent(size: Size, x: dict[str, Any]) -> Any:
    """Run the recurrence for gates by channel, whatever their widths are."""
    return module("channels").recurrent(*_given(x), scale=forms().SCALE, initial_state=x["S"])


def wide_gradients(size: Size, x: dict[str, Any], do: Any, dS: Any) -> dict[str, Any]:
    """Run the chunk form for gates by channel and its backward pass, whatever the widths are."""
    channels, given, scale = module("channels"), _given(x), forms().SCALE
    kept = module("sequences").room(x["v"], size.K, None, erase=False)
    channels.forward(*given, scale=scale, initial_state=x["S"], kept=kept)
    return _named(size, channels.backward(do, dS, *given, scale=scale, kept=kept))


def _named(size: Size, of: Any) -> dict[str, Any]:
    """Return gradients by the names of the stream: an erase gate that is not tied is ``b``."""
    found = of._asdict()
    return found if size.rule.tied else {**found, "b": found["beta"]}


def forward(
    sizes: Iterable[Size], rng: random.Random, form: Pass = chunk, primes: int = 1, dtype: str = "float32"
) -> Residuals:
    """Compare a form with the recurrence at each size, mod as many primes; its inputs have this type."""
    if is_counting():
        sizes, primes = torch_sizes.longest(sizes), 1
    of = getattr(import_module("torch"), dtype)
    return (forms().forward_residual(size, rng, form, dtype=of) for size in sizes for _ in range(primes))


def backward(
    sizes: Iterable[Size], rng: random.Random, form: Pass = gradients, dtype: str = "float32"
) -> Residuals:
    """Compare the gradients of a form with the derivative of the recurrence at each size; its inputs have this type."""
    if is_counting():
        sizes = torch_sizes.longest(sizes)
    of = getattr(import_module("torch"), dtype)
    return (forms().backward_residual(size, rng, form, dtype=of) for size in sizes)


DTYPES = ("bfloat16", "float16", "float64")  # beside float32, in which all other steps run


def of_every_type(compare: Callable[..., Residuals], sizes: Iterable[Size], rng: random.Random, form: Pass) -> Any:
    """Compare a form at each size on inputs of each other float type; the residual names the type."""
    for dtype in DTYPES:
        for found in compare(sizes, rng, form, dtype=dtype):
            yield {f"{dtype}:": found} if isinstance(found, dict) else found


def outweighed(sizes: Iterable[Size], rng: random.Random, form: Pass, *, backward: bool = False) -> Residuals:
    """Run a form on log decays of which one outweighs the others; the exponential of a positive sum is its residual."""
    run, numbers = forms().backward_residual if backward else forms().forward_residual, forms().Outweighed
    sizes = torch_sizes.longest(sizes) if is_counting() else sizes
    return (run(size, rng, form, None if is_counting() else numbers(rng)) for size in sizes)
