"""ATen operations on exact numbers, against PyTorch in float64 and against fractions."""

import math
import random
from fractions import Fraction

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from derivations.engines.aten.mode import exactly
from derivations.engines.aten.numbers import EMPTY, NotModelled, Numbers, Unsound
from derivations.engines.aten.tensors import Exact
from derivations.models import torch_sizes
from gdn_core.ops.torch import chunk

LOG2_E = math.log2(math.e)


@pytest.fixture
def numbers():
    return Numbers(random.Random(7))


def exact(numbers, x, dtype=torch.float64):
    """Return a tensor of small binary fractions as exact numbers."""
    return Exact(numbers.lifted(x), dtype)


def small(*shape, seed=0):
    """Draw numbers n / 8: sums of products of a few are exact in float64."""
    return torch.randint(-40, 40, shape, generator=torch.Generator().manual_seed(seed)).double() / 8


def agree(numbers, got, want):
    """Whether entries are the residues of float64 numbers that hold no rounding error."""
    assert isinstance(got, Exact)
    assert (got.shape, got.dtype) == (want.shape, want.dtype)
    return bool((got.entries == numbers.lifted(want)).all())


A, B, C, ROW = small(3, 4), small(3, 4, seed=1), small(4, 5, seed=2), small(4, seed=3)
PROGRAMS = {
    "add": lambda a, b, c, r: a + b - r,
    "alpha": lambda a, b, c, r: torch.sub(a, b, alpha=-1),
    "rsub": lambda a, b, c, r: 3 - a,
    "mul": lambda a, b, c, r: a * b * 0.125 * r[:, None].mT,
    "mm": lambda a, b, c, r: a @ c,
    "bmm": lambda a, b, c, r: a[None].expand(2, 3, 4) @ c,
    "mv": lambda a, b, c, r: a @ r,
    "addmm": lambda a, b, c, r: torch.addmm(c[:3], a, c, beta=2, alpha=-3),
    "baddbmm_": lambda a, b, c, r: c[:3][None].clone().baddbmm_(a[None], c[None]),
    "addcmul": lambda a, b, c, r: torch.addcmul(a, a, b, value=2),
    "out": lambda a, b, c, r: torch.bmm(a[None], c[None], out=torch.empty(1, 3, 5, dtype=a.dtype)),
    "sum": lambda a, b, c, r: a.sum(0) + a.sum() + a.sum((0, 1)) + a.sum(1, keepdim=True)[0],
    "cumsum": lambda a, b, c, r: a.cumsum(1).flip(0),
    "tril": lambda a, b, c, r: a.tril(-1) + a.clone().triu_(1),
    "masked_fill": lambda a, b, c, r: a.masked_fill(torch.ones(3, 4).tril() != 0, 2.5),
    "where": lambda a, b, c, r: torch.where(torch.ones(3, 4).tril() != 0, a, b),
    "slices": lambda a, b, c, r: write(a.clone(), b),
    "index_put": lambda a, b, c, r: put(a.clone(), b),
    "pad": lambda a, b, c, r: F.pad(a, (1, 2, 0, 1)),
    "views": lambda a, b, c, r: a.unflatten(1, (2, 2)).movedim(1, 0).reshape(2, 6).mT.flatten(),
    "cat": lambda a, b, c, r: torch.cat((a, b), 1).repeat_interleave(2, 0),
    "stack": lambda a, b, c, r: torch.stack((a, b), 1)[..., [3, 0]],
    "einsum": lambda a, b, c, r: torch.einsum("ij,jk,ij->ik", a, c, b),
    "eye": lambda a, b, c, r: torch.eye(4, dtype=a.dtype) + r,
    "ones": lambda a, b, c, r: torch.ones_like(a) + a.new_full((4,), 0.5) + torch.zeros(4, dtype=a.dtype),
    "constant": lambda a, b, c, r: a * torch.tensor([1.0, 0.5, 2.0, -0.25], dtype=a.dtype),
    "in place": lambda a, b, c, r: a.clone().mul_(b).add_(1).neg_(),
    "pow": lambda a, b, c, r: a**2,
    "cast": lambda a, b, c, r: a.float().double() + b.to(torch.float32),
    "solve": lambda a, b, c, r: torch.linalg.solve_triangular(c[:, :4], c, upper=False, unitriangular=True),
    "solve upper": lambda a, b, c, r: torch.linalg.solve_triangular(c[:, :4], a, upper=True, left=False,
                                                                     unitriangular=True),
}  # fmt: skip


def write(a, b):
    a[1:, :2] = b[:2, 2:]
    a[0].copy_(b[2])
    a.mT[3] *= 2
    return a


def put(a, b):
    a[torch.tensor([2, 0])] = b[:2]
    return a


@pytest.mark.parametrize("name", PROGRAMS)
def test_operations_are_those_of_pytorch(numbers, name):
    given = (A, B, C, ROW)
    want = PROGRAMS[name](*given)
    with exactly(numbers):
        got = PROGRAMS[name](*(exact(numbers, x) for x in given))
    assert agree(numbers, got, want)


def test_quotients_are_fractions(numbers):
    with exactly(numbers):
        got = exact(numbers, A)[:1] / exact(numbers, C.mT)[:1]
    for entry, over, under in zip(got.entries[0].tolist(), A[0].tolist(), C[:, 0].tolist(), strict=True):
        want = Fraction(over) / Fraction(under)
        assert entry * want.denominator % numbers.p == want.numerator % numbers.p


def test_the_exponential_of_a_sum_is_the_product_of_exponentials(numbers):
    g = Exact(numbers.draw_logs(2, 6), torch.float32)
    with exactly(numbers):
        decays = g.exp()
        so_far = g.cumsum(-1).exp()
        last = g.sum(-1).exp()
    product = torch.ones(2, dtype=torch.int64)
    for t in range(6):
        product = product * decays.entries[:, t] % numbers.p
        assert (so_far.entries[:, t] == product).all()
    assert (last.entries == product).all()


def test_a_log_decay_in_base_2_is_that_in_nats_times_its_factor(numbers):
    g = Exact(numbers.draw_logs(2, 6), torch.float32)
    with exactly(numbers):
        decay, binary = g.cumsum(-1).exp().entries, g * LOG2_E
        for same in (binary.cumsum(-1), g.cumsum(-1) * np.float32(LOG2_E), -(g.cumsum(-1) * -LOG2_E)):
            assert (same.exp2().entries == decay).all()
        for natural in (binary.cumsum(-1) / LOG2_E, binary.cumsum(-1) * math.log(2)):
            assert (natural.exp().entries == decay).all()
        assert ((binary.cumsum(-1) - binary.sum(-1, keepdim=True)) >= 0).all()


@pytest.mark.parametrize(
    ("program", "sentence"),
    [
        (lambda g: g.exp2(), "a log decay in nats stands where one in base 2 is expected"),
        (lambda g: (g * LOG2_E).exp(), "a log decay in base 2 stands where one in nats is expected"),
        (lambda g: (g * 1.4427).exp2(), "a log decay is multiplied by what is no small integer"),
        (lambda g: (g * LOG2_E * LOG2_E).exp2(), "a log decay is multiplied by what is no small integer"),
        (lambda g: (g * LOG2_E + g).exp2(), "a log decay in nats meets one in base 2"),
        (lambda g: (-g * LOG2_E).exp2(), "a positive combination of log decays"),
    ],
)
def test_a_log_decay_to_the_wrong_base_fails(numbers, program, sentence):
    with exactly(numbers), pytest.raises(Unsound, match=sentence):
        program(Exact(numbers.draw_logs(2, 6), torch.float32))


def test_a_root_is_that_of_a_fraction_where_there_is_one(numbers):
    """Of both roots mod p, the one that is taken makes roots of products products of roots."""
    x = exact(numbers, A**2 + (A == 0))
    with exactly(numbers):
        root, inverse = x.sqrt(), x.rsqrt()
        product = (x[0] * x[1]).sqrt()
    assert (root.entries**2 % numbers.p == x.entries).all()
    assert (root.entries * inverse.entries % numbers.p == 1).all()
    assert (root.entries[0] * root.entries[1] % numbers.p == product.entries).all()
    unit = numbers.unit(numbers.draw_lengths(50, 3, plus=0.0), plus=0.0)
    assert ((unit**2 % numbers.p).sum(-1) % numbers.p == 1).all()


def test_zero_is_a_log_decay_and_minus_infinity_a_decay_of_0(numbers):
    g = Exact(numbers.draw_logs(3, 3), torch.float32)
    with exactly(numbers):
        lower = g.tril().exp()
        masked = g.masked_fill(torch.ones(3, 3, dtype=torch.bool).triu(1), -torch.inf).exp()
    upper = torch.ones(3, 3).triu(1) > 0
    assert (lower.entries[upper] == 1).all()
    assert (masked.entries[upper] == 0).all()
    assert (lower.entries[~upper] == masked.entries[~upper]).all()


def logs(numbers, *shape):
    return Exact(numbers.draw_logs(*shape), torch.float32)


def values(numbers, *shape):
    return Exact(numbers.draw(*shape), torch.float32)


def unwritten(numbers):
    return torch.empty(3) + values(numbers, 3)


def partly_written(numbers):
    x = torch.empty(3)
    x[:2] = values(numbers, 2)
    return x.sum()


UNSOUND = {
    "exponential of a positive": lambda n: (-logs(n, 3)).exp(),
    "exponential of a difference": lambda n: (lambda G: (G[:, None] - G).exp())(logs(n, 4).cumsum(0)),
    "exponential of what is no log": lambda n: values(n, 3).exp(),
    "log decay is added to": lambda n: logs(n, 3) + values(n, 3),
    "log decay is multiplied": lambda n: logs(n, 3) * values(n, 3),
    "two log decays are multiplied": lambda n: logs(n, 3) * logs(n, 3),
    "never written, at \\[0\\]": unwritten,
    "never written, at \\[2\\]": partly_written,
    "divides by 0": lambda n: values(n, 3) / torch.zeros(3),
}


@pytest.mark.parametrize("sentence", UNSOUND)
def test_what_fails_on_real_numbers_fails(numbers, sentence):
    words = {
        "exponential of a positive": "exponential of a positive combination of log decays, which overflows",
        "exponential of a difference": "exponential of a positive combination of log decays, which overflows",
    }
    with exactly(numbers), pytest.raises(Unsound, match=words.get(sentence, sentence)):
        UNSOUND[sentence](numbers)


NOT_MODELLED = {
    "aten.sigmoid": lambda n: values(n, 3).sigmoid(),
    "aten.erf": lambda n: values(n, 3).erf(),
    "no square mod p": lambda n: values(n, 30).rsqrt(),
    "an order of values": lambda n: values(n, 3) < 0,
    "reads back": lambda n: values(n, 3)[0].item(),
    "cast of float32 to int64": lambda n: values(n, 3).long(),
    "the number nan": lambda n: values(n, 3) + torch.nan,
    "absolute value": lambda n: values(n, 3).abs() * 2,
    "made outside": lambda n: n.ordinary.add_(values(n, 3)),
}


@pytest.mark.parametrize("sentence", NOT_MODELLED)
def test_what_has_no_exact_meaning_raises_with_its_name(numbers, sentence):
    numbers.ordinary = torch.zeros(3)
    with exactly(numbers), pytest.raises(NotModelled, match=sentence):
        NOT_MODELLED[sentence](numbers)


def test_types_are_those_that_pytorch_demands(numbers):
    x = values(numbers, 3, 3)
    with exactly(numbers), pytest.raises(RuntimeError, match="one dtype"):
        x @ x.double()


def test_casts_are_counted(numbers):
    with exactly(numbers) as mode:
        values(numbers, 3).double().to(torch.bfloat16)
    assert dict(mode.casts) == {"float32 to float64": 1, "float64 to bfloat16": 1}


def test_a_tensor_that_was_allocated_is_empty(numbers):
    with exactly(numbers):
        x = values(numbers, 2).new_empty(2, 3)
        x[0] = 1
    assert x.entries.tolist() == [[1, 1, 1], [EMPTY, EMPTY, EMPTY]]


def test_finite_numbers_are_finite_and_a_log_of_0_is_not(numbers):
    with exactly(numbers):
        assert values(numbers, 3).sum().isfinite()
        assert not logs(numbers, 1).masked_fill(torch.tensor([True]), -torch.inf).isfinite().any()


def test_products_at_the_largest_residues_are_exact(numbers):
    x = torch.full((2, 300), numbers.p - 1)
    with exactly(numbers):
        got = Exact(x, torch.float32) @ Exact(x.mT.contiguous(), torch.float32)
    assert (got.entries == 300).all()


def test_the_sizes_of_the_claims_are_those_of_the_code():
    assert torch_sizes.CHUNK_SIZE == chunk.CHUNK_SIZE
    assert chunk.SPAN < torch_sizes.SPANS[0].T < 2 * chunk.SPAN < torch_sizes.SPANS[1].T
