"""The hand-derived gradients of a chunk against torch's, which differentiates the recurrence by itself."""

from dataclasses import fields

import pytest
import torch

from gdn_core import reference
from gdn_core.reference import Token
from gdn_core.reference_backward import chunk_backward

WIDTHS = [
    pytest.param(g, b, w, keys, id=f"decay {g}, erase {b}, write {w}, {keys}")
    for g, b, w, keys in (
        ("1 1", "1", "1", "one key"),
        ("1 K", "K", "V", "one key"),
        ("1 K", "1", "V", "one key"),
        ("V 1", "1", "1", "one key"),
        ("V K", "K", "V", "one key"),
        ("V K", "1", "1", "a key a row"),
        ("1 1", "K", "V", "a key a row"),
    )
]
NAMES = [field.name for field in fields(Token)]


def drawn(T, V, K, g, b, w, keys, seed=0):
    torch.manual_seed(seed)
    size = {"1": 1, "V": V, "K": K}
    shapes = {
        "q": (T, K),
        "k": (T, V, K) if keys == "a key a row" else (T, K),
        "v": (T, V),
        "g": (T, *(size[letter] for letter in g.split())),
        "b": (T, size[b]),
        "w": (T, size[w]),
    }
    letters = {name: torch.randn(shape, dtype=torch.float64) for name, shape in shapes.items()}
    letters["g"] = -letters["g"].abs()
    x = Token(**{name: letters[name].requires_grad_() for name in NAMES})
    S = torch.randn(V, K, dtype=torch.float64, requires_grad=True)
    return S, x, torch.randn(T, V, dtype=torch.float64), torch.randn(V, K, dtype=torch.float64)


@pytest.mark.parametrize(("g", "b", "w", "keys"), WIDTHS)
@pytest.mark.parametrize("T", [1, 2, 7])
def test_gradients_are_those_of_the_recurrence_at_every_width(T, g, b, w, keys):
    S, x, do, dS = drawn(T, 3, 5, g, b, w, keys)
    S_T, o = reference.recurrent(S, x, exp=torch.exp, stack=torch.stack)
    wanted = torch.autograd.grad((do * o).sum() + (dS * S_T).sum(), [S, *(getattr(x, name) for name in NAMES)])
    with torch.no_grad():
        of_memory, of_stream = chunk_backward(S, x, do, dS, exp=torch.exp, stack=torch.stack)
    for got, want in zip([of_memory, *(getattr(of_stream, name) for name in NAMES)], wanted, strict=True):
        assert got.shape == want.shape
        torch.testing.assert_close(got, want, rtol=1e-11, atol=1e-11)


def test_gradients_pass_from_chunk_to_chunk():
    S, x, do, dS = drawn(6, 3, 5, "1 1", "1", "1", "one key")
    whole, of_whole = chunk_backward(S, x, do, dS, exp=torch.exp, stack=torch.stack)
    with torch.no_grad():
        middle, _ = reference.chunk(S, x[:4], exp=torch.exp, stack=torch.stack)
        of_middle, of_second = chunk_backward(middle, x[4:], do[4:], dS, exp=torch.exp, stack=torch.stack)
        of_start, of_first = chunk_backward(S, x[:4], do[:4], of_middle, exp=torch.exp, stack=torch.stack)
    torch.testing.assert_close(of_start, whole)
    for name in NAMES:
        joined = torch.cat([getattr(of_first, name), getattr(of_second, name)])
        torch.testing.assert_close(joined, getattr(of_whole, name))


def test_decays_that_underflow_give_finite_gradients():
    S, x, do, dS = drawn(5, 3, 4, "1 K", "K", "V", "one key")
    with torch.no_grad():
        x.g[2] = -1e4
        of_memory, of_stream = chunk_backward(S, x, do, dS, exp=torch.exp, stack=torch.stack)
    assert of_memory.isfinite().all() and not of_memory[:, 0].isnan().any()
    assert all(getattr(of_stream, name).isfinite().all() for name in NAMES)
