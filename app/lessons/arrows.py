"""Pictures of the delta rule, in which a memory of one row is an arrow."""

from __future__ import annotations

import numpy as np

from app.lessons.frame import Numbers, many, said
from app.reel.panels import TEXT, Arrow, Curves, Line, Plane, Reel, Surface
from gdn_core.lab.studies import delta as study


def _kind(beta: float) -> str:
    """Say what the erase does to the part along the key."""
    exact = {0.0: "nothing is erased", 1.0: "the erase is a projection", 2.0: "the erase is a reflection"}
    if beta in exact or beta > 2:
        return exact.get(beta, "the erase is too much, as the part along the key comes back longer")
    return "the erase goes a part of the way" if beta < 1 else "the erase turns the part along the key round"


def draw_plane(numbers: Numbers, value: float) -> Reel:
    """Draw the erase in the plane of keys."""
    beta, k, before = numbers["beta"], numbers["key"], numbers["before"]
    told = [
        f"With β = {said(b, 3)} {_kind(b)}: the eigenvalue along the key is {said(1 - b, 3)}, and the norm of the "
        f"erase {said(norm, 3)}. The key was answered {said(numbers['answer'][0])}, and now {said(a)}."
        for b, norm, a in zip(beta, numbers["norm"], numbers["answer"], strict=True)
    ]
    arrows = (
        Arrow(name="k", to=k), Arrow(name="S before", to=before, colour=TEXT, dash="dash"),
        Arrow(name="erased", to=numbers["erased"], colour=2), Arrow(name="S after", to=numbers["written"], colour=1),
    )
    valley = Line(name="memories that answer v", y=numbers["valley"], colour=TEXT, dash="dot")
    plane = Plane(title="A memory of one row is an arrow, as a key is", arrows=arrows, limit=2.0, paths=(valley,))
    return Reel(panels=(plane,), counts="β", ticks=tuple(said(b, 3) for b in beta), said=tuple(told), start=10)


def draw_gradient(numbers: Numbers, value: float) -> Reel:
    """Draw the loss as a surface with the step on it, and the loss after steps of every length."""
    beta, loss = numbers["beta"], numbers["loss"]
    told = [
        f"A step of rate β = {said(b, 3)} against the gradient takes the loss from {said(loss[0])} to {said(one)}."
        for b, one in zip(beta, loss, strict=True)
    ]
    panels = (
        Surface(title="The loss of every memory, and the step on it", x=study.GRID, y=study.GRID,
                heights=numbers["surface"], way=numbers["way"], names=("S₁", "S₂", "loss"), step="from S before"),
        Curves(title="Loss after the step, ½ (S k − v)²", x=beta, lines=(Line(name="loss", y=loss),), x_title="rate β",
               y_title="loss", at=beta, places=((1.0, "β = 1"),)),
    )
    return Reel(panels=panels, counts="rate β", ticks=tuple(said(b, 3) for b in beta), said=tuple(told), start=10)


def draw_again(numbers: Numbers, beta: float) -> Reel:
    """Draw a memory from which one key is erased again and again."""
    times, along = numbers["times"], numbers["along"]
    told = [
        f"Erased {many(n, 'time')} with β = {said(beta)}, the part along the key is {said(a)}: each time it is "
        f"multiplied by {said(float(numbers['eigenvalue']))}. The part across is {said(c)}, as it was."
        for n, a, c in zip(times, along, numbers["across"], strict=True)
    ]
    arrows = (Arrow(name="k", to=study.token(beta, 0.0).k), Arrow(name="S", to=numbers["memory"], colour=1))
    lines = (Line(name="along the key", y=along), Line(name="across", y=numbers["across"], colour=1, dash="dash"))
    panels = (
        Plane(title="The memory", arrows=arrows, limit=2.0),
        Curves(title="Its parts along the key and across", x=times, lines=lines, x_title="times erased", y_title="part",
               at=times, bottom=min(-2.0, float(along[:6].min())), top=max(2.0, float(along[:6].max()))),
    )
    return Reel(panels=panels, counts="times erased", ticks=tuple(map(str, times)), said=tuple(told), start=1)


def draw_space(numbers: Numbers, beta: float, turn: float) -> Reel:
    """Draw a memory of three channels from a side, at each stage of each token."""
    token = numbers["token"]
    told, ticks = [], []
    for n, (t, value, answer) in enumerate(zip(token, numbers["value"], numbers["answer"], strict=True)):
        off = ", ".join(map(said, numbers["off"][n]))
        if t < 0:
            told.append(f"The memory as it starts. The three keys miss their values by {off}.")
            ticks.append("start")
            continue
        key, way = f"k{'₀₁₂'[t % 3]}", said(numbers["moved"][n])
        erased = bool(n % 2)
        told.append(
            f"Token {t}, with the key {key}. The erase moves the memory by {way} along the key, which now answers "
            f"{said(answer)}." if erased else
            f"Token {t}, with the key {key}: the write moves the memory by {way} along the key, which now answers "
            f"{said(answer)}, where {said(value)} is to be answered. The three keys miss their values by {off}."
        )
        ticks.append(f"{t}, {'erased' if erased else 'written'}")
    channels = [Arrow(name=f"channel {n}", to=1.2 * axis, dash="dot") for n, axis in enumerate(numbers["axes"])]
    arrows = (
        *channels, Arrow(name="k", to=numbers["key"], colour=0), Arrow(name="S", to=numbers["seen"], colour=1),
        Arrow(name="answers all three", to=numbers["aim"], dash="dash"),
    )
    paths = (
        Line(name="memories that answer v", y=numbers["plane"], colour=0, dash="dash"),
        Line(name="the way of S", y=numbers["path"], colour=2),
    )
    plane = Plane(title="A memory of one row and three channels, from a side", arrows=arrows, limit=1.6, paths=paths)
    lines = tuple(
        Line(name=f"k{'₀₁₂'[n]}", y=y, colour=n, dash=("solid", "dash", "dot")[n])
        for n, y in enumerate(numbers["off"][::2].T)
    )
    chart = Curves(title="By how much each key misses its value", x=np.arange(1 + len(token) // 2), lines=lines,
                   x_title="tokens so far", y_title="distance", at=np.arange(len(token)) / 2)
    return Reel(panels=(plane, chart), counts="token, stage", ticks=tuple(ticks), said=tuple(told), start=4)
