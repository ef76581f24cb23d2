# %% [markdown]
# # A tour: from a rule to its proof, its kernel and a picture
#
# This page is a file of the project, `docs/tour.py`. It was run when the page was built, and the output is under each
# cell. Editors that know `# %%` run it cell by cell.
#
# ## The rule
#
# A write rule says how one token changes the memory, a matrix. It is data: how wide each gate is, and whether erasing
# and writing share one gate.

# %%
from gdn_core import RULES, tex

rule = RULES["gated-deltanet"]
for gate in ("decay", "erase", "write", "tied"):
    print(f"{gate:6}", getattr(rule, gate))

# %% [markdown]
# The equation is not stored. It is printed by running the arithmetic on letters.

# %%
print(tex(rule))

# %% [markdown]
# The arithmetic is one function for every rule. A gate that a rule does not have is 1, or 0 for the erase gate.

# %%
import inspect

from gdn_core import reference

print(inspect.getsource(reference.step))

# %% [markdown]
# ## The same function on other numbers
#
# The function uses only sums, products and the `exp` that it is given, so it runs on exact fractions. Here one key is
# written twice, with beta = 1 and no decay. The memory then answers the second value, exactly: the error that is
# written is the value less what the key answered before.

# %%
from fractions import Fraction

import numpy as np


def row(*numbers):
    return np.array([Fraction(number) for number in numbers], dtype=object)


key, one = row("3/5", "4/5"), row(1)  # a key of length 1, and a gate that is open
memory = np.array([[Fraction(0)] * 2] * 2, dtype=object)
for value in (row(5, 7), row("1/3", 2)):
    token = reference.Token(q=key, k=key, v=value, g=row(0)[None], b=one, w=one)
    memory, answer = reference.step(memory, token, exp=lambda g: g + 1)  # exp(0) = 1
    print("wrote", *value, "  the key now answers", *answer)

# %% [markdown]
# It runs on symbols too: here on a memory of one row and one key channel. The decay letter stands for exp(g).

# %%
import sympy

S, a, beta, k, v, q = sympy.symbols("S alpha beta k v q")


def entry(letter):
    return np.array([letter], dtype=object)


token = reference.Token(q=entry(q), k=entry(k), v=entry(v), g=entry(a)[None], b=entry(beta), w=entry(beta))
written, _ = reference.step(entry(S)[None], token, exp=lambda g: g)
sympy.Eq(sympy.Symbol("S'"), written[0, 0])

# %% [markdown]
# ## The proof
#
# A GPU does not run token by token. It takes chunks, solves one triangular system for all errors of a chunk, and then
# touches the memory twice. A claim states that both give the same numbers; each of its steps says for which sizes.

# %%
from derivations.registry import load

claim = load()["gated_chunk_equals_recurrence"]
print(claim.conclusion)
for scope in claim.scopes:
    print("-", scope)

# %% [markdown]
# Checking it takes a few seconds. Every step has to leave a residual of zero.

# %%
result = claim.check()
assert not result.faults
for step in result.steps:
    print(step.verdict.value, "|", step.engine, "|", step.name)

# %% [markdown]
# A check that cannot fail shows nothing. So each claim has wrong variants, whose residual must not be zero.

# %%
for mutant in result.mutants:
    print(f"{mutant.name}:\n    {mutant.residual[:90]}")

# %% [markdown]
# ## The kernel
#
# `trajectory` runs any rules of the family over one stream in one Triton kernel and keeps every state. Without a GPU
# the same kernel runs in Triton's interpreter, and without Triton the reference runs in PyTorch.

# %%
from gdn_core import scenarios, trajectory

scene = scenarios.from_preset("overwrite")
run = trajectory(["linear-attention", "gated-deltanet"], scene.stream)
print(run.run.backend, "on", run.run.device)
print("states, [rule, token + 1, value channel, key channel]:", run.states.shape)

# %% [markdown]
# Its float32 states are those of the float64 reference, up to rounding.

# %%
_, V, K = run.sizes
exact, _ = reference.recurrent(np.zeros((V, K)), run.tokens[1])
error = float(np.abs(run.states[1, -1] - exact).max())
assert error < 1e-6
print(f"largest error of an entry: {error:.1e}")

# %% [markdown]
# The public functions have the signatures of flash-linear-attention's functions of the same names. On an NVIDIA GPU
# they run chunk kernels, elsewhere the chunk form in plain PyTorch.

# %%
import torch

from gdn_core import chunk_gated_delta_rule


def tensor(array):
    return torch.tensor(array, dtype=torch.float32)[None, :, None]  # B = 1 and one head


x = run.tokens[1]  # what Gated DeltaNet made of the stream
q, k, v, g, beta = map(tensor, (x.q, x.k, x.v, x.g[:, 0, 0], x.b[:, 0]))
o, state = chunk_gated_delta_rule(q, k, v, g, beta, scale=1.0, output_final_state=True)
error = float(np.abs(state[0, 0].numpy().T - exact).max())  # a state is [K, V] in the public functions
assert error < 1e-6
print(f"largest error of an entry: {error:.1e}")

# %% [markdown]
# ## The picture
#
# Both memories after token 8, which writes the key of token 0 again: column 0. Linear attention holds the sum of both
# values there, Gated DeltaNet the second alone.

# %%
import plotly.express as px

picture = px.imshow(
    run.states[:, 8 + 1],
    facet_col=0,
    color_continuous_scale="RdBu_r",
    color_continuous_midpoint=0,
    labels={"x": "key channel", "y": "value channel", "color": "weight"},
)
for title, each in zip(picture.layout.annotations, run.rules, strict=True):
    title.text = each.title
picture

# %% [markdown]
# How far the answer to that key is from the value written last, token by token. `./run app` shows the same with every
# stage of every token.

# %%
from gdn_core import metrics

recall = metrics.recall_error(run)[:, :, 0]
px.line(
    {each.title: recall[r] for r, each in enumerate(run.rules)},
    labels={"index": "token", "value": "error of the answer / value", "variable": "rule"},
)
