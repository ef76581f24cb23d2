"""The PyTorch forms that run: their operations, on exact numbers, give the recurrence and its derivative.

PyTorch is imported by the steps and not by this module, so that the claims can be listed without it.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from importlib import import_module
from typing import Any

from derivations.claim import Code
from derivations.engines.algebra import Algebra, equation
from derivations.engines.field import is_counting
from derivations.models import torch_sizes
from derivations.models.computed import EXACTLY, recurrence
from derivations.models.torch_sizes import (
    EVERY_CHUNK_SIZE,
    GATES,
    HEADS,
    OUTWEIGHED,
    PACKED,
    REAL,
    RESETS,
    SPANS,
    TOKEN_BY_TOKEN,
    Size,
)
from derivations.mutants.by_hand import misprinted
from derivations.papers import cite, ours
from derivations.registry import claim
from derivations.scope import EverySize
from gdn_core import reference

FORMS = "gdn_core.ops.torch"


def _module(name: str) -> Any:
    return import_module(f"{FORMS}.{name}")


def _code(*names: str) -> tuple[Code, ...]:
    return tuple(Code(f"{FORMS}.{module}", function) for module, function in (name.split(".") for name in names))


def _cu_seqlens(size: Size) -> Any:
    return import_module("torch").tensor(size.bounds) if size.lengths else None


# What runs: a function of a size and its tensors that returns outputs and memories, or gradients by name.


def _chunk(size: Size, x: dict[str, Any]) -> Any:
    run = _module("sequences").forward
    return run(x["q"], x["k"], x["v"], x["g"], x["beta"], x["S"], _cu_seqlens(size), scale=_forms().SCALE)


def _steps(size: Size, x: dict[str, Any]) -> Any:
    run = _module("sequences").steps
    return run(x["q"], x["k"], x["v"], x["g"], x["beta"], x["S"], _cu_seqlens(size), scale=_forms().SCALE)


def _recurrent(size: Size, x: dict[str, Any]) -> Any:
    run = _module("recurrent").recurrent
    return run(x["q"], x["k"], x["v"], x["g"], x["beta"], scale=_forms().SCALE, initial_state=x["S"])


def _differentiable(size: Size, x: dict[str, Any]) -> Any:
    run = _module("differentiable").chunk
    return run(x["q"], x["k"], x["v"], x["g"], x["beta"], x["S"], _cu_seqlens(size), scale=_forms().SCALE)


def _gradients(size: Size, x: dict[str, Any], do: Any, dS: Any) -> dict[str, Any]:
    sequences, cu_seqlens = _module("sequences"), _cu_seqlens(size)
    given, scale = [x[name] for name in ("q", "k", "v", "g", "beta")], _forms().SCALE
    kept = sequences.room(x["v"], size.K, cu_seqlens, erase=size.erases)
    sequences.forward(*given, x["S"], cu_seqlens, scale=scale, kept=kept)
    return sequences.backward(do, dS, *given, cu_seqlens, scale=scale, kept=kept)._asdict()


def _forms() -> Any:
    return import_module("derivations.models.torch_forms")


def _forward(
    sizes: Iterable[Size], rng: random.Random, form: Callable[..., Any] = _chunk, primes: int = 1
) -> Iterator[dict[str, Any]]:
    """Compare a form with the recurrence at each size, mod as many primes."""
    if is_counting():
        sizes, primes = torch_sizes.longest(sizes), 1
    return (_forms().forward_residual(size, rng, form) for size in sizes for _ in range(primes))


def _backward(sizes: Iterable[Size], rng: random.Random) -> Iterator[dict[str, Any]]:
    """Compare the gradients with the derivative of the recurrence at each size."""
    if is_counting():
        sizes = torch_sizes.longest(sizes)
    return (_forms().backward_residual(size, rng, _gradients) for size in sizes)


# The algebra by which the forms differ from the reference.


def _reassociated() -> tuple[Any, Any, Any, Any, Any]:
    a = Algebra("")
    M, B = a.matrix("M", "C", "C"), a.diagonal("B", "C", tex=r"\operatorname{diag}(\beta)")
    e, r, one = a.matrix("e", "C", "V"), a.matrix("r", "C", "V"), a.identity("C")
    return M, B, e, r, one


def _statement() -> str:
    M, B, e, r, one = _reassociated()
    u = e.algebra.matrix("u", "C", "V")
    return rf"{equation(r, (one + M @ B) @ e)}, \quad {equation(u, B @ e)} \;\Rightarrow\; (I + B M) u = B r"


@claim(
    statement=_statement,
    assumptions=("$M$ is the strict lower triangle of the products of keys under the decay mask.",),
    scope=EverySize("C", "dv"),
    engine="words",
    source=cite("2412.06464", "sec. 3.3, with the gate moved to the other side here"),
)
def gate_moves_through_the_triangular_system() -> Any:
    """Errors that are solved for before their gate, and gated afterwards, are the errors of the paper's system."""
    M, B, e, _, one = _reassociated()
    return ((one + B @ M) @ (B @ e) - B @ ((one + M @ B) @ e)).normal()


@gate_moves_through_the_triangular_system.refute
def gate_on_the_same_side() -> Any:
    """The gate stands on the left of the products in both systems."""
    M, B, e, _, one = _reassociated()
    return ((one + B @ M) @ (B @ e) - B @ ((one + B @ M) @ e)).normal()


@gate_moves_through_the_triangular_system.refute
def errors_gated_twice() -> Any:
    """The errors are gated before and after the solution."""
    M, B, e, _, one = _reassociated()
    return ((one + B @ M) @ (B @ B @ e) - B @ ((one + M @ B) @ e)).normal()


# The chunk form, forward.


@claim(
    statement=recurrence(r"\operatorname{torch\_chunk}(q, k, v, g, \beta, S_0) = (o, S_T)"),
    assumptions=EXACTLY,
    scope=torch_sizes.scope(EVERY_CHUNK_SIZE),
    engine="aten",
    source=cite("2412.06464", "sec. 3.3"),
    code=(*_code("chunk.forward", "sequences.forward"), reference.recurrent, reference.step),
    uses=("gated_chunk_equals_recurrence", "gate_moves_through_the_triangular_system"),
    needs=("torch",),
)
def torch_chunk_equals_recurrence(rng: random.Random) -> Any:
    """The chunk form in PyTorch, operation by operation as it runs, is the recurrence."""
    return _forward(EVERY_CHUNK_SIZE, rng)


@torch_chunk_equals_recurrence.step(engine="aten", scope=torch_sizes.scope((*SPANS, *REAL), primes=2))
def several_spans_and_real_widths(rng: random.Random) -> Any:
    """The memory passes from span to span; at real widths the same holds."""
    return _forward((*SPANS, *REAL), rng, primes=2)


@torch_chunk_equals_recurrence.step(
    engine="aten", scope=torch_sizes.scope((*HEADS, *PACKED, *GATES))
)
def batches_heads_packed_sequences_and_absent_gates(rng: random.Random) -> Any:
    """Batches, grouped heads, packed sequences, and rules without a decay, without erasing or without a memory."""
    return _forward((*HEADS, *PACKED, *GATES), rng)


@torch_chunk_equals_recurrence.step(engine="aten", scope=torch_sizes.scope(RESETS))
def decays_of_0(rng: random.Random) -> Any:
    """Tokens whose decay is 0 clear the memory, with heads, batches and packed sequences."""
    return _forward(RESETS, rng)


def _misprinted(name: str, right: str, wrong: str) -> AbstractContextManager[None]:
    module, *names = name.split(".")
    code = _module(module)
    for part in names:
        code = getattr(code, part)
    return misprinted(code, right, wrong)


NEAR = (Size(37, 3, 2, 8, HV=2), *PACKED[:1])  # where a misprint shows


def _wrong_forward(rng: random.Random, name: str, right: str, wrong: str) -> Iterator[dict[str, Any]]:
    with _misprinted(name, right, wrong):
        yield from _forward(NEAR, rng)


@torch_chunk_equals_recurrence.refute
def outputs_under_the_causal_mask(rng: random.Random) -> Any:
    """The outputs are masked by ones in place of the decays."""
    return _wrong_forward(rng, "chunk.forward", "* gated.to(dtype)", "* gates.beta[..., None, :].to(dtype)")


@torch_chunk_equals_recurrence.refute
def exponential_above_the_diagonal(rng: random.Random) -> Any:
    """Decays are taken above the diagonal too, where the exponential of a positive number overflows."""
    return _wrong_forward(rng, "chunk._gates", ".tril_().exp_()", ".exp_()")


@torch_chunk_equals_recurrence.refute
def gate_of_the_later_token(rng: random.Random) -> Any:
    """The products of keys are gated by the later token, as for errors that are gated already."""
    return _wrong_forward(rng, "chunk.forward", "gates.beta[..., None, :]", "gates.beta[..., :, None]")


@torch_chunk_equals_recurrence.refute
def answer_of_the_memory_added(rng: random.Random) -> Any:
    """What the memory answers is added to the value in place of taken off."""
    return _wrong_forward(rng, "chunk.forward", "minus = -gates.so_far", "minus = gates.so_far")


@torch_chunk_equals_recurrence.refute
def memory_decayed_by_one_token(rng: random.Random) -> Any:
    """The memory is decayed by the first token of a chunk in place of all."""
    return _wrong_forward(rng, "chunk.forward", "so_far[i, :, -1:]", "so_far[i, :, :1]")


@torch_chunk_equals_recurrence.refute
def writes_decayed_from_the_start(rng: random.Random) -> Any:
    """What is written is decayed from the start of the chunk and not to its end."""
    return _wrong_forward(rng, "chunk._gates", "(G[..., -1:] - G).exp()", "G.exp()")


@torch_chunk_equals_recurrence.refute
def scale_a_thousandth_too_large(rng: random.Random) -> Any:
    """The scale is a thousandth too large."""
    return _wrong_forward(rng, "chunk.forward", "addcmul_(all_read[:n], so_far), o, scale)",
                          "addcmul_(all_read[:n], so_far), o, scale * 1.001)")  # fmt: skip


@torch_chunk_equals_recurrence.refute
def sum_on_a_buffer_that_was_never_written(rng: random.Random) -> Any:
    """The first part of a sum is added to a buffer that was allocated and never written."""
    return _wrong_forward(rng, "chunk._multiply", "if add:", "if True:")


@torch_chunk_equals_recurrence.refute
def triangle_inverted_without_its_transpose(rng: random.Random) -> Any:
    """The upper triangle is solved in place of the lower one."""
    return _wrong_forward(rng, "chunk._ut_transform", "triangle, one, upper=False", "triangle.mT, one, upper=True")


@torch_chunk_equals_recurrence.refute
def memory_of_the_first_sequence(rng: random.Random) -> Any:
    """Every packed sequence starts from the memory of the first."""
    right = "initial_state=S[group.numbers]"
    return _wrong_forward(rng, "sequences.forward", right, right.replace("group", "0 * group"))


@torch_chunk_equals_recurrence.refute
def key_of_the_next_head(rng: random.Random) -> Any:
    """Heads of values are given out to the heads of keys in turn and not in blocks."""
    with _misprinted("chunk._Span.rows", "x.expand(n, B, H, heads // H, C, D)",
                     "x.expand(n, B, H, heads // H, C, D).transpose(2, 3)"):  # fmt: skip
        yield from _forward(HEADS, rng)


# Token by token, and the form that PyTorch differentiates.


@claim(
    statement=recurrence(r"\operatorname{torch\_recurrent}(q, k, v, g, \beta, S_0) = (o, S_T)"),
    assumptions=EXACTLY,
    scope=torch_sizes.scope(TOKEN_BY_TOKEN, primes=3),
    engine="aten",
    source=cite("2412.06464", "eq. 10"),
    code=(*_code("recurrent.recurrent", "sequences.steps"), reference.recurrent, reference.step),
    needs=("torch",),
)
def torch_recurrent_equals_recurrence(rng: random.Random) -> Any:
    """The recurrence in PyTorch, operation by operation as it runs, is the reference's recurrence."""
    return _forward(TOKEN_BY_TOKEN, rng, _recurrent, primes=3)


@torch_recurrent_equals_recurrence.step(engine="aten", scope=torch_sizes.scope(PACKED, primes=3))
def short_packed_sequences_token_by_token(rng: random.Random) -> Any:
    """Packed sequences give the recurrence, the short ones token by token and the long ones in chunks."""
    return _forward(PACKED, rng, _steps, primes=3)


def _wrong_recurrent(rng: random.Random, right: str, wrong: str) -> Iterator[dict[str, Any]]:
    with _misprinted("recurrent.recurrent", right, wrong):
        yield from _forward(TOKEN_BY_TOKEN[:3], rng, _recurrent)


@torch_recurrent_equals_recurrence.refute
def error_before_the_decay(rng: random.Random) -> Any:
    """The error is read from the memory before its decay."""
    return _wrong_recurrent(rng, "u - torch.bmm(k_t, S)", "u - torch.bmm(k_t, S if t == 0 else S / g[:, t].exp()"
                            ".reshape(-1, 1, 1))")  # fmt: skip


@torch_recurrent_equals_recurrence.refute
def value_not_gated(rng: random.Random) -> Any:
    """The gate is left out of the value."""
    return _wrong_recurrent(rng, "* (u - torch.bmm(k_t, S))", "* -torch.bmm(k_t, S) + u")


@torch_recurrent_equals_recurrence.refute
def query_of_the_token_before(rng: random.Random) -> Any:
    """The query is that of the token before."""
    return _wrong_recurrent(rng, "rows(q, t)", "rows(q, t - 1)")


@claim(
    statement=recurrence(r"\operatorname{differentiable\_chunk}(q, k, v, g, \beta, S_0) = (o, S_T)"),
    assumptions=EXACTLY,
    scope=torch_sizes.scope(EVERY_CHUNK_SIZE[::4]),
    engine="aten",
    source=cite("2412.06464", "sec. 3.3"),
    code=(*_code("differentiable.chunk"), reference.recurrent, reference.step),
    uses=("gated_chunk_equals_recurrence",),
    needs=("torch",),
)
def differentiable_chunk_equals_recurrence(rng: random.Random) -> Any:
    """The chunk form that PyTorch differentiates is the recurrence; so its derivatives are the recurrence's."""
    return _forward(EVERY_CHUNK_SIZE[::4], rng, _differentiable)


@differentiable_chunk_equals_recurrence.step(
    engine="aten", scope=torch_sizes.scope((*HEADS, *PACKED, *GATES))
)
def heads_sequences_and_gates_of_the_differentiable_form(rng: random.Random) -> Any:
    """Batches, grouped heads, packed sequences, and rules without a decay, without erasing or without a memory."""
    return _forward((*HEADS, *PACKED, *GATES), rng, _differentiable)


def _wrong_differentiable(rng: random.Random, right: str, wrong: str) -> Iterator[dict[str, Any]]:
    with _misprinted("differentiable._batch", right, wrong):
        yield from _forward(NEAR, rng, _differentiable)


@differentiable_chunk_equals_recurrence.step(engine="aten", scope=torch_sizes.scope(RESETS))
def decays_of_0_in_the_differentiable_form(rng: random.Random) -> Any:
    """Tokens whose decay is 0 clear the memory, with heads, batches and packed sequences."""
    return _forward(RESETS, rng, _differentiable)


@differentiable_chunk_equals_recurrence.refute
def gates_left_out_of_the_system(rng: random.Random) -> Any:
    """The gates are left out of the triangular system."""
    return _wrong_differentiable(rng, ".mT * between * b.mT", ".mT * between")


@differentiable_chunk_equals_recurrence.refute
def read_before_the_decay(rng: random.Random) -> Any:
    """The memory is read without the decay since the start of the chunk."""
    return _wrong_differentiable(rng, "rows * (queries[:, :, i] @ S)", "(queries[:, :, i] @ S)")


# The chunk form, backward.


@claim(
    statement=recurrence(
        r"\operatorname{torch\_backward}(q, k, v, g, \beta, S_0, \dot o, \dot S_T) = "
        r"\nabla \bigl(\langle \dot o, o \rangle + \langle \dot S_T, S_T \rangle\bigr)"
    ),
    assumptions=(*EXACTLY, "The gradients are compared along a random direction, with dual numbers."),
    scope=torch_sizes.scope(EVERY_CHUNK_SIZE[::2]),
    engine="aten",
    source=cite("2412.06464", "sec. 3.3, differentiated by hand here"),
    code=(*_code("chunk.backward", "sequences.backward"), reference.recurrent, reference.step),
    uses=("torch_chunk_equals_recurrence",),
    needs=("torch",),
)
def torch_chunk_backward_is_the_derivative(rng: random.Random) -> Any:
    """The backward pass in PyTorch, operation by operation as it runs, is the derivative of the recurrence."""
    return _backward(EVERY_CHUNK_SIZE[::2], rng)


@torch_chunk_backward_is_the_derivative.step(
    engine="aten", scope=torch_sizes.scope((*SPANS, *REAL))
)
def gradients_of_several_spans_and_real_widths(rng: random.Random) -> Any:
    """The gradient of the memory passes from span to span; at real widths the same holds."""
    return _backward((*SPANS, *REAL), rng)


@torch_chunk_backward_is_the_derivative.step(
    engine="aten", scope=torch_sizes.scope((*HEADS, *PACKED, *GATES))
)
def gradients_of_heads_packed_sequences_and_absent_gates(rng: random.Random) -> Any:
    """Batches, grouped heads, packed sequences, and rules without a decay, without erasing or without a memory."""
    return _backward((*HEADS, *PACKED, *GATES), rng)


@torch_chunk_backward_is_the_derivative.step(engine="aten", scope=torch_sizes.scope(RESETS))
def gradients_behind_decays_of_0(rng: random.Random) -> Any:
    """Tokens whose decay is 0 clear the memory; the gradient of their log decay is 0."""
    return _backward(RESETS, rng)


def _wrong_backward(rng: random.Random, right: str, wrong: str, name: str = "chunk.backward") -> Iterator[Any]:
    with _misprinted(name, right, wrong):
        yield from _backward(NEAR, rng)


@torch_chunk_backward_is_the_derivative.refute
def system_not_transposed(rng: random.Random) -> Any:
    """The triangular system of the gradients is not transposed."""
    return _wrong_backward(rng, "gates.beta[..., :, None]).transpose(2, 3)", "gates.beta[..., :, None])")


@torch_chunk_backward_is_the_derivative.refute
def decay_gradient_summed_from_the_start(rng: random.Random) -> Any:
    """The gradient of the cumulated log decay is summed from the start of the chunk."""
    return _wrong_backward(rng, "dG.flip(-1).cumsum(-1).flip(-1)", "dG.cumsum(-1)")


@torch_chunk_backward_is_the_derivative.refute
def memory_forgotten_in_the_decay_gradient(rng: random.Random) -> Any:
    """The gradient of the decays leaves out what the memory before the chunk lost."""
    return _wrong_backward(rng, "at_end.sum(-1) + last.view(n, B, H, G)", "at_end.sum(-1)")


@torch_chunk_backward_is_the_derivative.refute
def products_of_keys_on_one_side(rng: random.Random) -> Any:
    """The gradient of the products of keys reaches the later key alone."""
    return _wrong_backward(rng, "(of_head + of_head.transpose(1, 2)).to(dtype)", "of_head.to(dtype)")


@torch_chunk_backward_is_the_derivative.refute
def sign_of_the_products_of_keys(rng: random.Random) -> Any:
    """The gradient of the products of keys has the wrong sign."""
    return _wrong_backward(rng, "gates.beta[..., :, None] * -gates.between", "gates.beta[..., :, None] * gates.between")


@torch_chunk_backward_is_the_derivative.refute
def scale_left_out_of_the_reads(rng: random.Random) -> Any:
    """The scale is left out of the rows that read a memory."""
    return _wrong_backward(rng, "torch.cat((so_far, so_far * scale), 4)", "torch.cat((so_far, so_far), 4)")


@torch_chunk_backward_is_the_derivative.refute
def gate_left_out_of_the_value_gradient(rng: random.Random) -> Any:
    """The gradient of the values is not gated."""
    return _wrong_backward(rng, "torch.mul(r[i], b[i], out=du[i])", "du[i].copy_(r[i])")


@torch_chunk_backward_is_the_derivative.refute
def gradients_of_packed_memories_mixed_up(rng: random.Random) -> Any:
    """Every packed sequence starts from the gradient of the first one's last memory."""
    return _wrong_backward(
        rng, "do_of_group, dstate[group.numbers]", "do_of_group, dstate[0 * group.numbers]", "sequences.backward"
    )


# No exponential of a positive number.


def _outweighed(residual: str, form: Callable[..., Any], rng: random.Random) -> Iterator[Any]:
    """Run a form on log decays of which one outweighs the others; the exponential of a positive sum is its residual."""
    run, numbers = getattr(_forms(), residual), _forms().Outweighed
    sizes = torch_sizes.longest(OUTWEIGHED) if is_counting() else OUTWEIGHED
    return (run(size, rng, form, None if is_counting() else numbers(rng)) for size in sizes)


@claim(
    statement=recurrence(
        r"\operatorname{torch\_chunk}(q, k, v, g, \beta, S_0) = (o, S_T), \quad "
        r"\text{every exponential in it is } \exp(G_i - G_j) \le 1, \; j \le i"
    ),
    assumptions=(
        *EXACTLY,
        r"$g \le 0$. In sequence n of a batch the log decay of token n outweighs those of all other tokens together, "
        "so a sum of log decays in which one has a minus sign is positive in one of the sequences.",
    ),
    scope=torch_sizes.scope(OUTWEIGHED),
    engine="aten",
    source=ours("differences of log decays are formed before the exponential"),
    code=(*_code("chunk.forward"), reference.step),
    uses=("no_exponential_of_a_positive_number", "torch_chunk_equals_recurrence"),
    needs=("torch",),
)
def torch_forms_take_no_exponential_of_a_positive_number(rng: random.Random) -> Any:
    """Neither the PyTorch chunk forms nor their gradients take the exponential of a positive number."""
    return _outweighed("forward_residual", _chunk, rng)


@torch_forms_take_no_exponential_of_a_positive_number.step(engine="aten", scope=torch_sizes.scope(OUTWEIGHED))
def exponentials_of_the_gradients(rng: random.Random) -> Any:
    """The same of the backward pass."""
    return _outweighed("backward_residual", _gradients, rng)


@torch_forms_take_no_exponential_of_a_positive_number.step(engine="aten", scope=torch_sizes.scope(OUTWEIGHED))
def exponentials_of_the_differentiable_form(rng: random.Random) -> Any:
    """The same of the form that PyTorch differentiates."""
    return _outweighed("forward_residual", _differentiable, rng)


@torch_forms_take_no_exponential_of_a_positive_number.refute
def exponentials_above_the_diagonal(rng: random.Random) -> Any:
    """Decays are taken above the diagonal too, and masked afterwards."""
    with _misprinted("chunk._gates", ".tril_().exp_()", ".exp_()"):
        yield from _outweighed("forward_residual", _chunk, rng)


@torch_forms_take_no_exponential_of_a_positive_number.refute
def decay_to_the_end_as_a_quotient(rng: random.Random) -> Any:
    """The decay to the end of the chunk is a quotient of two decays from its start: equal, and it overflows."""
    with _misprinted("chunk._gates", "(G[..., -1:] - G).exp()", "G[..., -1:].exp() * (-G).exp()"):
        yield from _outweighed("backward_residual", _gradients, rng)
