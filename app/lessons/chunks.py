"""Pictures of the chunk form, by which Gated DeltaNet trains."""

from __future__ import annotations

import numpy as np

from app.lessons.frame import Numbers, many, said
from app.reel.panels import TEXT, Curves, Line, Map, Maps, Reel
from gdn_core.lab.studies import chunkwise as study

COMPARED = ("size", "exact", "float32", "float16", "bfloat16")
LARGEST = float(np.finfo(np.float32).max)
CARRIED = ("U", "W Sᵀ", "N", "O", "S′")


def draw_matrices(numbers: Numbers, size: int, alpha: float) -> Reel:
    """Draw the system of a chunk, solved row by row."""
    T, U, errors = numbers["T"], numbers["U"], numbers["errors"]
    told = [
        f"Row {i} of T is row {i} of the identity, less row {i} of A times the rows above: {many(i, 'product')}. Row "
        f"{i} of U is the error that the recurrence writes at token {i}, up to {said(apart, least=0.0)}."
        for i, apart in enumerate(numbers["apart"])
    ]
    so_far = (np.arange(size)[:, None] >= np.arange(size))[:, :, None]
    squares = Maps(
        title="C by C, within the chunk", rows="later token i", columns="earlier token j", small=105, limit=1.0,
        maps=(Map(name="Γ", values=numbers["Gamma"]), Map(name="A", values=numbers["A"]), Map(name="T", values=T)),
    )
    rows = Maps(
        title="The errors", rows="token", columns="value channel", small=150,
        maps=(Map(name="U", values=so_far * U), Map(name="by the recurrence", values=so_far * errors)),
    )
    ticks = tuple(map(str, range(size)))
    return Reel(panels=(squares, rows), counts="row solved", ticks=ticks, said=tuple(told), start=size // 2)


def draw_carried(numbers: Numbers, size: int, alpha: float) -> Reel:
    """Draw a chunk that begins with a memory, a matrix after the other."""
    lengths = dict(zip(study.MEASURED, numbers["lengths"].tolist(), strict=True))
    of_N, of_O, of_S = (said(x, least=0.0) for x in numbers["apart"])
    told = (
        f"U, as in the step before: the errors if the memory were empty, of length {said(lengths['U'])} together.",
        f"W Sᵀ is what the old memory takes from them, of length {said(lengths['WS'])}. W has a row for each token.",
        f"N = U − W Sᵀ. These are the errors that the recurrence writes, up to {of_N}.",
        f"O: the old memory gives a part of length {said(lengths['of_memory'])}, the chunk one of length "
        f"{said(lengths['of_chunk'])}. The outputs are those of the recurrence, up to {of_O}.",
        f"S′, with which the next chunk begins, is the memory of the recurrence up to {of_S}: of length "
        f"{said(lengths['after'])}, where S had {said(lengths['S'])}.",
    )

    def there(name: str, since: int) -> np.ndarray:
        shown = np.where(np.arange(len(CARRIED)) >= since, 1.0, np.nan)
        return shown[:, None, None] * numbers[name]

    rows = Maps(
        title="A row for each token; hatched: not made yet", rows="token", columns="channel", small=110,
        maps=(Map(name="U", values=there("U", 0)), Map(name="W", values=there("W", 1)),
              Map(name="W Sᵀ", values=there("WS", 1)), Map(name="N = U − W Sᵀ", values=there("N", 2)),
              Map(name="from S", values=there("of_memory", 3)), Map(name="from N", values=there("of_chunk", 3)),
              Map(name="O, their sum", values=there("O", 3))),
    )  # fmt: skip
    memories = Maps(
        title="The memory before and after", rows="value channel", columns="key channel", small=110,
        maps=(Map(name="S", values=there("S", 0)), Map(name="S′", values=there("after", 4))),
    )
    return Reel(panels=(rows, memories), counts="made", ticks=CARRIED, said=told, start=2)


def draw_agreement(numbers: Numbers, alpha: float) -> Reel:
    """Draw how far the chunk form is from the recurrence, in each type."""
    size, own = numbers["size"], dict(zip(study.FLOATS, numbers["recurrence"], strict=True))
    told = [
        f"Chunks of {many(n, 'token')}: in fractions the largest difference from the recurrence is exactly "
        f"{said(exact, least=0.0)}; in float32 it is {said(single, least=0.0)} of the largest output, in float16 "
        f"{said(half, least=0.0)}, in bfloat16 {said(brain, least=0.0)}. The recurrence itself has in these types "
        f"{said(own['float32'], least=0.0)}, {said(own['float16'], least=0.0)} and {said(own['bfloat16'], least=0.0)}."
        for n, exact, single, half, brain in zip(*(numbers[name] for name in COMPARED), strict=True)
    ]
    dashes = ("solid", "dash", "dot", "dashdot")
    lines = tuple(Line(name=n, y=numbers[n], colour=i, dash=dashes[i]) for i, n in enumerate(study.FLOATS))
    chart = Curves(
        title="Chunk form less recurrence in float64; in fractions it is 0", x=size, lines=lines, at=size, log="y",
        x_title="tokens in a chunk", y_title="difference, relative",
    )
    return Reel(panels=(chart,), counts="tokens in a chunk", ticks=tuple(map(str, size)), said=tuple(told), start=7)


def _product(x: float) -> str:
    return said(x, least=0.0) if np.isfinite(x) else "no number any more"


def draw_exponents(numbers: Numbers, alpha: float) -> Reel:
    """Draw the two ways to form a decay."""
    size, growing, together = numbers["size"], numbers["growing"], numbers["together"]
    told = [
        f"After {many(n, 'token')} the log decay G is {said(G)}, and "
        + (f"exp(−G) is {said(g, least=0.0)}." if np.isfinite(g) else "exp(−G) is too large for float32.")
        + f" The two factors multiply to {_product(p)}, where 1 is right."
        for n, G, g, p in zip(size, numbers["G"], growing, numbers["product"], strict=True)
    ]
    lines = (
        Line(name="exp(Gᵢ − Gⱼ), formed together", y=together),
        Line(name="exp(−Gⱼ), formed alone", y=growing, colour=1, dash="dash"),
        Line(name="largest float32", y=np.full(len(size), LARGEST), colour=TEXT, dash="dot"),
    )
    chart = Curves(
        title="The decay over a chunk, in float32", x=size, lines=lines, x_title="tokens in a chunk",
        y_title="factor", at=size, log="xy", top=1e40, bottom=1e-40,
    )
    return Reel(panels=(chart,), counts="tokens in a chunk", ticks=tuple(map(str, size)), said=tuple(told), start=20)


def draw_cost(numbers: Numbers, width: str, run: int) -> Reel:
    """Draw the multiplications, and the time that was measured."""
    size, inside, carried, waits = (numbers[name] for name in ("size", "inside", "carried", "waits"))
    seconds = 1e3 * numbers["seconds"]
    told = [
        f"Chunks of {many(n, 'token')}: {said(a, 3)} multiplications a token within chunks, {said(b, 3)} with the "
        f"memory. {study.LENGTH} tokens, that is {many(int(w), 'chunk')} one after the other, took {said(ms)} ms."
        for n, a, b, w, ms in zip(size, inside, carried, waits, seconds, strict=True)
    ]
    work = (
        Line(name="within chunks", y=inside), Line(name="with the memory", y=carried, colour=1, dash="dash"),
        Line(name="together", y=inside + carried, colour=2, dash="dot"),
    )
    panels = (
        Curves(title="Multiplications a token", x=size, lines=work, at=size, log="xy", x_title="tokens in a chunk",
               y_title="multiplications"),
        Curves(title=f"Time of {study.LENGTH} tokens, on this machine", x=size, at=size, log="xy",
               lines=(Line(name="measured", y=seconds, colour=3),), x_title="tokens in a chunk", y_title="ms"),
    )  # fmt: skip
    return Reel(panels=panels, counts="tokens in a chunk", ticks=tuple(map(str, size)), said=tuple(told), start=5)
