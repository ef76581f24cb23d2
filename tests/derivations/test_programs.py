"""PyTorch programs of other people: programs written by hand here, right and wrong, and how the command tells."""

import json
import random

import pytest
import torch

from derivations.command import FAILS, HOLDS, WRONG_CALL, main
from derivations.models.programs import Program, argument, size
from derivations.models.torch_programs import Refused, compare, fitted, found
from derivations.models.torch_sizes import Size


def told(function, **said):
    """Say what came of a program at each of its sizes, up to the first that is wrong."""
    program, sizes = fitted(function, Program("test:it", **said))
    for at in sizes:
        compared = compare(function, program, at, random.Random(0))
        if compared.residual:
            return f"{at.stream}: {compared.residual}"
    return ""


def by_token(q, k, v, decay, erase, write, S=None, order="decay error write"):
    """Run a rule token by token: tensors [B, T, H, D], a memory [B, H, K, V], gates that broadcast to it."""
    S = torch.zeros_like(k[:, 0, :, :, None] * v[:, 0, :, None]) if S is None else S
    outputs = []
    for t in range(q.shape[1]):
        k_t, v_t = k[:, t, :, :, None], v[:, t, :, None]
        S = S * decay[:, t]
        u = write[:, t] * v_t - (erase[:, t] * k_t * S).sum(-2, keepdim=True)
        S = S + k_t * u
        outputs.append((q[:, t, :, :, None] * S).sum(-2))
    return torch.stack(outputs, 1), S


def wide(x):
    return x[..., None, None]


def gated(query, key, value, g, beta, initial_state=None, scale=None, *, wrong=""):
    decay = wide(g).exp()
    query = query * scale * (1.001 if wrong == "scale" else 1)
    beta, erase = wide(beta), wide(beta) * (-1 if wrong == "sign" else 1)
    o, S = by_token(query, key, value, decay, erase, beta, initial_state)
    return o, (S.flip(1) if wrong == "heads" else S)


def deltanet(q, k, v, beta):
    return by_token(q * q.shape[-1] ** -0.5, k, v, wide(beta) * 0 + 1, wide(beta), wide(beta))[0]


def gla(q, k, v, g):
    one = torch.ones_like(g[..., :1, None])
    return by_token(q * q.shape[-1] ** -0.5, k, v, g[..., None].exp(), one * 0, one)


def two_gates(q, k, v, g, b, w):
    return by_token(q * q.shape[-1] ** -0.5, k, v, g[..., None].exp(), b[..., None], w[..., None, :])


def alone(q, k, v, alpha, beta):
    """Run one head: tensors [T, D], a memory [V, K], the decay and not its logarithm."""
    one = [x[None, :, None] for x in (q, k, v)]
    o, S = by_token(*one, *(wide(x)[None, :, None] for x in (alpha, beta, beta)))
    return S[0, 0].mT, o[0, :, 0]


def head_first(q, k, v, g, beta, initial_state):
    given = (x.transpose(1, 2) for x in (q, k, v, wide(g).exp(), wide(beta), wide(beta)))
    o, S = by_token(*given, initial_state.mT)
    return o.transpose(1, 2), "something else", S.mT


def of_unit_length(q, k, v, g, beta, normalise=False):
    if normalise:
        q, k = (x * torch.rsqrt((x * x).sum(-1, keepdim=True) + 1e-6) for x in (q, k))
    return by_token(q * q.shape[-1] ** -0.5, k, v, wide(g).exp(), wide(beta), wide(beta))


def not_of_unit_length(q, k, v, g, beta, normalise=False):
    return of_unit_length(q, k, v, g, beta)


RIGHT = {
    "gated": (gated, {}),
    "deltanet": (deltanet, {"rule": "deltanet"}),
    "gla": (gla, {"rule": "gla"}),
    "two gates": (two_gates, {"rule": "gated-deltanet-2", "roles": {"b": "erase", "w": "write"}}),
    "alone": (alone, {"layout": "TD", "state": "VK", "results": ("S", "o"), "scale": 1.0}),
    "head first": (head_first, {"layout": "BHTD", "state": "BHVK", "results": ("o", "_", "S"), "scale": 1.0}),
    "unit length": (of_unit_length, {"roles": {"normalise": "l2norm"}, "dtype": "bfloat16"}),
}  # fmt: skip
QUICK = (Size(1, 4, 3, H=2, HV=2), Size(9, 4, 3, B=2), Size(5, 1, 2))


@pytest.mark.parametrize("name", RIGHT)
def test_a_program_that_is_the_recurrence_is_said_to_be(name):
    function, said = RIGHT[name]
    few = QUICK if "layout" not in said or said["layout"] == "BHTD" else (Size(9, 4, 3), Size(5, 1, 2))
    assert told(function, **said, sizes=few) == ""


@pytest.mark.parametrize(
    ("function", "said", "residual"),
    [
        (lambda *given: gated(*given, wrong="scale"), {}, "T = 1, K = 4, V = 3, H = 2, HV = 2: o: "),
        (lambda *given: gated(*given, wrong="sign"), {}, "T = 1, K = 4, V = 3, H = 2, HV = 2: o: "),
        (lambda *given: gated(*given, wrong="heads"), {}, "T = 1, K = 4, V = 3, H = 2, HV = 2: S: "),
        (not_of_unit_length, {"roles": {"normalise": "l2norm"}}, "T = 1, "),
        (deltanet, {"rule": "deltanet", "scale": 1.0}, "T = 1, "),
        (head_first, RIGHT["head first"][1] | {"state": "BHKV", "sizes": (Size(2, 2, 2),)}, "T = 2, "),
    ],
)
def test_a_program_that_is_not_leaves_the_first_wrong_output(function, said, residual):
    names = ("query", "key", "value", "g", "beta", "initial_state", "scale")
    if function.__name__ == "<lambda>":
        wrong = function

        def function(query, key, value, g, beta, initial_state, scale):
            return wrong(query, key, value, g, beta, initial_state, scale)

        assert fitted(function, Program("test:it"))[0].roles.keys() == set(names)
    assert told(function, **{"sizes": QUICK, **said}).startswith(residual)


# Wrong in ways that a comparison of floats may not see, or that no number shows: with the line.
OVERFLOWS = """import torch
def it(q, k, v, g, beta):
    G = g.cumsum(1)
    between = (G[:, :, None] - G[:, None]).exp()
    return v * between.sum(2)[..., None]
"""
UNWRITTEN = """import torch
def it(q, k, v, g, beta):
    o = torch.empty_like(v)
    o[:, 1:] = v[:, 1:]
    return o
"""
READ = UNWRITTEN.replace("return o", "return o * 2")
BRANCHES = "def it(q, k, v, g, beta):\n    return v if beta.sum() > 0 else -v\n"
SOFTMAX = "def it(q, k, v, g, beta):\n\n    return (q @ k.mT).softmax(-1) @ v\n"
VALUE = "def it(q, k, v, g, beta):\n    return v * beta.exp()[..., None]\n"


@pytest.mark.parametrize(
    ("source", "residual"),
    [
        (OVERFLOWS, "takes the exponential of a positive combination of log decays, which overflows, at [0, 0, 1, 0] "
                    "of a tensor [2, 9, 9, 1] (it.py:4)"),
        (UNWRITTEN, "o: never written at [0, 0, 0, 0]"),
        (READ, "reads what was never written, at [0, 0, 0, 0] of a tensor [2, 9, 1, 3] (it.py:5)"),
        (VALUE, "takes the exponential of what is no log decay (it.py:2)"),
    ],
)  # fmt: skip
def test_what_fails_on_real_numbers_is_wrong(tmp_path, source, residual):
    (tmp_path / "it.py").write_text(source)
    at = "T = 9, K = 4, V = 3, B = 2, no initial state"
    assert told(found(f"{tmp_path}/it.py:it"), sizes=QUICK[1:2]) == f"{at}: {residual}"


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        (BRANCHES, r"uses what is not modelled: an order of values.*, at T = 9, .* \(it.py:2\)"),
        (SOFTMAX, r"uses what is not modelled: the operation aten._softmax.default, at T = 9, .* \(it.py:3\)"),
        ("def it(q, k, v, g, beta): return 1 / 0", r"raises ZeroDivisionError: division by zero, at .* \(it.py:1\)"),
        ("def it(q, k, v, g, beta, more): return v", "its parameter more has no default: say --map more=CONSTANT"),
        ("def it(q, k, v): return v", "expected one parameter that is g or alpha: say --map PARAMETER=g"),
        ("def it(q, k, v, g, alpha, beta): return v", "expected one parameter that is g or alpha"),
        ("def it(q, k, v, g, beta): return v, v, v", "expected it to return o, S, got 3: say --returns"),
        ("def it(q, k, v, g, beta): return v, None", "returns for S: .* got NoneType; say --returns"),
        ("def other(): pass", "it.py has no function it"),
        ("import nothing_of_this_name", "No module named 'nothing_of_this_name'"),
        ("\nraise SystemExit(0)", r"its import raises SystemExit: 0 \(it.py:2\)"),
        ("x = (", "it.py:1: '\\(' was never closed"),
    ],
)
def test_what_cannot_be_compared_is_refused_in_a_sentence(tmp_path, source, sentence):
    (tmp_path / "it.py").write_text(source)
    with pytest.raises(Refused, match=sentence):
        told(found(f"{tmp_path}/it.py:it"), sizes=QUICK[1:2])


def test_a_parameter_that_the_function_does_not_have_is_refused():
    with pytest.raises(Refused, match="it has no parameter chunk; it has q, k, v, g"):
        told(gla, rule="gla", constants={"chunk": 16})
    with pytest.raises(Refused, match="beta is beta, which mamba-2 does not have"):
        told(gated, rule="mamba-2")


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        ({"where": "chunk"}, "chunk: expected MODULE:FUNCTION"),
        ({"roles": {"x": "queries"}}, "x=queries: expected one of q, k"),
        ({"roles": {"x": "q", "y": "q"}}, "q: expected one parameter to be it, got 2"),
        ({"layout": "BTH"}, "layout: expected an order of BTHD, of which TD are needed, got BTH"),
        ({"state": "KVK"}, "state: expected an order of BHKV"),
        ({"results": ("S",)}, "returns: expected outputs"),
        ({"dtype": "int64"}, "dtype: expected one of float16"),
        ({"rule": "delta"}, "rule: expected one of"),
        ({"rule": "s4"}, "rule: s4 is not compared with programs"),
        ({"layout": "TD", "sizes": (Size(3, 1, 1, B=2),)}, "size: expected B = 1 where the layout is TD, got 2"),
    ],
)
def test_what_has_no_meaning_is_refused(said, sentence):
    with pytest.raises(ValueError, match=sentence):
        Program(**{"where": "a:b", **said})


def test_arguments_and_sizes_are_read():
    assert argument("query=q") == ("query", "q", None)
    assert argument("chunk_size=16") == ("chunk_size", None, 16)
    assert size("T=64,K=16,V=8,H=2,HV=4,B=3") == Size(64, 16, 8, H=2, HV=4, B=3)
    for wrong in ("query", "x=sliding"):
        with pytest.raises(ValueError, match=f"{wrong}: expected"):
            argument(wrong)
    for wrong in ("T=64", "T=0,K=1,V=1", "T=4,K=1,V=1,H=2,HV=3", "T=4,K=1,V=1,C=2"):
        with pytest.raises(ValueError, match="size: expected"):
            size(wrong)


def test_a_program_comes_back_from_the_process_as_it_went():
    sizes = (Size(3, 1, 1, lengths=(1, 2)),)
    program = Program("a:b", roles={"x": "q"}, constants={"n": 3}, results=("o", "S"), sizes=sizes)
    assert Program.decoded(json.loads(json.dumps(program.encoded()))) == program


def test_packed_sequences_and_grouped_heads_are_among_the_sizes_where_they_are_asked_for():
    roles = ("q", "k", "v", "g", "beta", "initial_state")
    plain, packed = (Program("a:b").at(names, optional=False) for names in (roles, (*roles, "cu_seqlens")))
    assert not any(at.lengths or at.HV > at.H for at in plain)
    assert any(at.lengths for at in packed)
    assert any(at.HV > at.H for at in Program("a:b", grouped=True).at(roles, optional=False))
    assert not all(at.remembers for at in Program("a:b").at(roles, optional=True))


def test_the_command_runs_it_in_a_process_that_may_do_anything(tmp_path, capfd, monkeypatch):
    """It prints, reads the input, and ends its process or never ends, and the answer is one sentence."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "it.py").write_text(
        "import os, sys, time\nprint('hello')\nassert not sys.stdin.read()\n"
        "def right(q, k, v):\n    print('there')\n    S = 0 * k[:, 0, :, :, None] * v[:, 0, :, None]\n    o = []\n"
        "    for t in range(q.shape[1]):\n        S = S + k[:, t, :, :, None] * v[:, t, :, None]\n"
        "        o.append((q[:, t, :, :, None] * S).sum(-2))\n    import torch\n    return torch.stack(o, 1)\n"
        "def wrong(q, k, v):\n    return right(q, k, v) * 2\n"
        "def dies(q, k, v):\n    os._exit(0)\ndef waits(q, k, v):\n    time.sleep(600)\n"
    )

    def run(name, *arguments):
        code = main(["check-torch", f"it.py:{name}", "--rule", "linear-attention", "--scale", "1", *arguments])
        return code, *capfd.readouterr()

    code, out, _ = run("right", "--json", "it.json")
    assert code == HOLDS
    assert out.startswith("it.py:right is the recurrence of Linear attention at T = 1, K = 4, V = 3, H = 2, HV = 2, ")
    assert "taken: q is q, k is k, v is v, queries times 1, axes BTHD and BHKV\nnot modelled: rounding" in out
    assert json.loads((tmp_path / "it.json").read_text())["holds"] is True
    code, out, _ = run("wrong", "--size", "T=2,K=1,V=1")
    assert code == FAILS
    said = "it.py:wrong is not the recurrence of Linear attention: at T = 2, K = 1, V = 1, no initial state: o: "
    assert out.startswith(said)
    code, out, error = run("dies")
    assert (code, out) == (WRONG_CALL, "")
    assert "it.py:dies: it ended the process that ran it: T = 1, " in error
    code, out, error = run("waits", "--limit", "3")
    assert (code, out) == (WRONG_CALL, "")
    assert "it.py:waits: took longer than 3 s: " in error
    assert run("right", "--map", "q")[0] == WRONG_CALL
