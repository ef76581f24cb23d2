"""The claims about the PyTorch forms: their oracle against PyTorch's own gradients, and what they notice."""

import random

import pytest
import torch

from derivations.engines.aten.numbers import NotModelled, Numbers
from derivations.engines.degree import largest
from derivations.engines.field import counting
from derivations.models.torch_forms import Stream, backward_residual, chunks_of, forward_residual
from derivations.models.torch_sizes import Size
from derivations.mutants.by_hand import misprinted
from derivations.registry import load
from derivations.residual import is_zero
from gdn_core.ops.torch import channels, chunk, differentiable, recurrent, sequences
from gdn_core.ops.torch import reference as torch_reference


def forward(size, x):
    bounds = torch.tensor(size.bounds) if size.lengths else None
    return sequences.forward(x["q"], x["k"], x["v"], x["g"], x["beta"], x["S"], bounds, scale=0.125)


def backward(size, x, do, dS):
    bounds = torch.tensor(size.bounds) if size.lengths else None
    given = [x[name] for name in ("q", "k", "v", "g", "beta")]
    kept = sequences.room(x["v"], size.K, bounds, erase=True)
    sequences.forward(*given, x["S"], bounds, scale=0.125, kept=kept)
    return sequences.backward(do, dS, *given, bounds, scale=0.125, kept=kept)._asdict()


SIZE = Size(11, 3, 2, 4, HV=2, lengths=(4, 0, 6))


def rounded(x, p):
    """Return residues that stand for small integers as float64."""
    return torch.where(x > p // 2, x - p, x).double()


def test_the_oracle_is_the_recurrence_in_fractions_and_its_derivative_that_of_autograd():
    """With small integers and no decay, residues are the integers themselves."""
    numbers = Numbers(random.Random(1))
    size = Size(4, 2, 3, 2, decays=False)
    stream = Stream(size, numbers)
    draw = torch.Generator().manual_seed(0)
    for name, x in stream.entries().items():
        setattr(stream, name, torch.randint(-2, 3, x.shape, generator=draw) % numbers.p)
    floats = {name: rounded(x, numbers.p).requires_grad_() for name, x in stream.entries().items()}
    S, outputs = floats["S"][0, 0].T, []
    for t in range(size.T):
        q, k, v, b = floats["q"][0, t, 0], floats["k"][0, t, 0], floats["v"][0, t, 0], floats["beta"][0, t, 0]
        S = S + b * torch.outer(v - S @ k, k)
        outputs.append(S @ q)
    o, last = stream.recurrence(1.0)
    assert (rounded(torch.from_numpy(o), numbers.p)[0, :, 0] == torch.stack(outputs)).all()
    assert (rounded(torch.from_numpy(last), numbers.p)[0, 0] == S.T).all()
    do, dS = torch.ones(1, 4, 1, 3, dtype=torch.int64), torch.ones(1, 1, 2, 3, dtype=torch.int64)
    gradients = torch.autograd.grad(torch.stack(outputs).sum() + S.sum(), list(floats.values()))
    along = {name: torch.randint(0, 3, x.shape, generator=draw) for name, x in floats.items()}
    want = sum((gradient * along[name]).sum() for name, gradient in zip(floats, gradients, strict=True))
    got = stream.derivative(1.0, along, do, dS)
    assert int(got.values) == int(want.item()) % numbers.p


def test_a_decay_is_a_power_that_multiplies_the_memory():
    numbers = Numbers(random.Random(2))
    stream = Stream(Size(3, 1, 1, erases=False), numbers)
    for x in (stream.k, stream.v):
        x.zero_()
    o, last = stream.recurrence(1.0)
    decay, S = numbers.exponential(stream.g)[0, :, 0].tolist(), int(stream.S[0, 0, 0, 0])
    for t in range(3):
        S = S * decay[t] % numbers.p
        assert o[0, t, 0, 0] == S * int(stream.q[0, t, 0, 0]) % numbers.p
    assert last[0, 0, 0, 0] == S


@pytest.mark.parametrize(
    ("code", "right", "wrong", "place"),
    [
        (chunk.forward, "o, scale)", "o, scale * 1.001)", " o: "),
        (sequences.forward, "S[group.numbers] = ", "S[group.numbers.flip(0)] = ", ""),
        (chunk._gates, "span.cut(g).to(wide)", "2 * span.cut(g).to(wide)", " o: "),
    ],
)
def test_a_wrong_forward_pass_is_named_with_its_sizes(code, right, wrong, place):
    size = Size(11, 3, 2, 4, HV=2, lengths=(4, 4))
    assert is_zero(forward_residual(size, random.Random(0), forward))
    with misprinted(code, right, wrong):
        residual = forward_residual(size, random.Random(0), forward)
    ((named, found),) = residual.items()
    assert named.startswith("C = 4, T = 11, K = 3, V = 2")
    assert not is_zero(found)
    assert not place or " at [0, 0, 0, 0]" in str(found["o"])


def test_a_wrong_gradient_is_named():
    assert is_zero(backward_residual(SIZE, random.Random(0), backward))

    def scaled(size, x, do, dS):
        gradients = backward(size, x, do, dS)
        return {**gradients, "beta": gradients["beta"] * 1.001}

    ((_, found),) = backward_residual(SIZE, random.Random(0), scaled).items()
    assert [name for name, residual in found.items() if residual] == ["dbeta"]


def test_an_input_that_is_written_to_is_named():
    def careless(size, x):
        o, S = forward(size, x)
        x["k"][0, 1] *= 1
        x["v"][0, 2] *= 2
        return o, S

    ((_, found),) = forward_residual(SIZE, random.Random(0), careless).items()
    assert [name for name, residual in found.items() if residual] == ["v"]


def test_decays_of_0_are_those_of_the_recurrence_and_what_is_not_modelled_is_said():
    made = load()["torch_chunk_equals_recurrence"]
    (step,) = [step for step in made.steps if step.name == "decays of 0"]
    checked = made.check_step(step)
    assert checked.verdict.value == "holds"
    casts = tuple(f"the cast of {cast}" for cast in ("float32 to float64", "float64 to float32"))
    assert checked.unmodelled == ("rounding", *casts)
    with misprinted(chunk._gates, "so_far.masked_fill_(counts > 0, 0)", "so_far"):
        assert made.check_step(step).verdict.value == "fails"


def test_the_chunk_size_is_put_back():
    with chunks_of(5):
        assert (chunk.CHUNK_SIZE, chunk.SPAN, vars(differentiable)["CHUNK_SIZE"]) == (5, 40, 5)
    assert (chunk.CHUNK_SIZE, chunk.SPAN, vars(differentiable)["CHUNK_SIZE"]) == (32, 256, 32)


def test_every_mutant_is_refuted_by_a_residual():
    made = load()["torch_chunk_equals_recurrence"]
    for mutant in made.mutants:
        checked = made.check_step(mutant)
        assert checked.verdict.value == "holds"
        assert "Error" not in checked.residual


def test_the_degree_of_a_form_is_counted_on_degrees():
    """A token has decay, gate and key twice; then the memory or a value, and the query: of degree 4 T + 2."""
    size = Size(5, 3, 2, 2, HV=2)
    with counting():
        assert largest(forward_residual(size, random.Random(0), forward)) == 4 * 5 + 2
        # of a gradient: times the letter that it is a gradient by, and the gradient of the output
        assert largest(backward_residual(size, random.Random(0), backward)) == 4 * 5 + 2 + 2

        def squared(size, x):
            o, S = forward(size, x)
            return o * o, S

        assert largest(forward_residual(size, random.Random(0), squared)) == 2 * (4 * 5 + 2)
        with pytest.raises(NotModelled, match="divides by a letter"):
            forward_residual(size, random.Random(0), lambda size, x: (x["v"] / x["v"], x["S"]))


# A statement of a form, what takes its place where it is wrong, and where that is.
AT_SOME_SIZES = [
    ("torch_recurrent_equals_recurrence", recurrent.recurrent, "x = x[:, t, :, None]",
     "x = x[:, t, :, None].roll(int(HV > 8), 1)"),
    ("torch_recurrent_equals_recurrence", recurrent.recurrent, "rows(k, t)", "rows(k, min(t, 63))"),
    ("torch_recurrent_equals_recurrence", recurrent.recurrent, "if initial_state is None:",
     "if initial_state is None or B > 3:"),
    ("torch_recurrent_equals_recurrence", recurrent.recurrent, "scale * torch", "(scale if K < 64 else 1) * torch"),
    ("torch_recurrent_equals_recurrence", sequences.steps, "initial_state=state)", "initial_state=None)"),
    ("torch_chunk_equals_recurrence", chunk._Span.put, "T - self.start] * scale",
     "T - self.start] * (1 if T - self.start == 11 else scale)"),
    ("torch_chunk_equals_recurrence", chunk._Span.put, "torch.mul(values, scale,",
     "torch.mul(values, scale if self.number < 3 else 1,"),
    ("torch_chunk_equals_recurrence", sequences._groups, "members[first:first + at_once]", "members[:at_once]"),
    ("torch_chunk_equals_recurrence", chunk._gates, "counts > 0", "(counts > 0) & (counts < 3)"),
    ("torch_chunk_backward_is_the_derivative", chunk.backward, "kept.h[span.number]", "kept.h[min(span.number, 2)]"),
    ("torch_chunk_backward_is_the_derivative", chunk.backward, "span.rows(v, HV, dtype)",
     "span.rows(v, HV, dtype) * (T < 40)"),
    ("torch_chunk_backward_is_the_derivative", sequences._groups, "varlen.most_blocks(length, chunk.SPAN, None)", "1"),
    ("torch_chunk_backward_is_the_derivative", sequences._groups, "varlen.most_blocks(length, chunk.CHUNK_SIZE, None)",
     "(1 if length > 200 else varlen.most_blocks(length, chunk.CHUNK_SIZE, None))"),
    ("torch_chunk_backward_is_the_derivative", sequences._needed, "if dS is not None:", "if False:"),
    ("differentiable_chunk_equals_recurrence", differentiable._cut, "x.to(dtype).repeat_interleave(heads // H, dim=1)",
     "x.to(dtype).repeat_interleave(heads // H, dim=1).roll(int(heads > 9), 1)"),
    ("torch_recurrent_by_channel_equals_recurrence", channels.recurrent, "(column(beta, t) * k_t).mT @ S",
     "(V < 13) * ((column(beta, t) * k_t).mT @ S)"),
    ("torch_reference_is_the_reference_on_every_head", torch_reference.recurrent, "if initial_state is None",
     "if initial_state is None or B > 3"),
]  # fmt: skip
# Where a number is rounded, or a result has another type.
OF_SOME_TYPE = [
    ("torch_recurrent_equals_recurrence", recurrent.recurrent, "torch.promote_types(v.dtype, torch.float32)",
     "v.dtype"),
    ("torch_recurrent_equals_recurrence", recurrent.recurrent, "u = beta[:, t].to(dtype)",
     "u = beta[:, t].to(torch.float16).to(dtype)"),
    ("torch_chunk_equals_recurrence", chunk._gates, "wide = precision.wide(v.device)", "wide = torch.float32"),
    ("torch_chunk_by_channel_equals_recurrence", channels.forward, "S.unflatten(0, (B, HV)).to(torch.promote_types("
     "v.dtype, torch.float32))", "S.unflatten(0, (B, HV))"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "function", "right", "wrong"),
    AT_SOME_SIZES + OF_SOME_TYPE,
    ids=lambda x: getattr(x, "__qualname__", str(x))[:40],
)
def test_what_is_wrong_at_some_sizes_only_or_rounds_is_noticed(name, function, right, wrong):
    made = load()[name]
    with misprinted(function, right, wrong):
        verdicts = {step.name: made.check_step(step).verdict.value for step in made.steps}
    assert "fails" in verdicts.values(), verdicts
