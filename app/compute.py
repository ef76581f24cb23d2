"""Compute a choice: its tokens, its picture and its measures, each once for all visitors."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from app import uploads
from app.cache import Once
from app.choice import Choice, Origin, Stage
from app.player import payload
from gdn_core.equation import letters, tex, tex_gates
from gdn_core.lab import metrics, scenarios
from gdn_core.lab.answers import answers, words
from gdn_core.lab.heads import Heads
from gdn_core.lab.heads import heads as find_heads
from gdn_core.lab.scenarios import Scenario
from gdn_core.lab.trajectory import Trajectory, trajectory
from gdn_core.lab.worker.pool import LaunchError
from gdn_core.rules import RULES, Gate, WriteRule

MOST_BYTES = 256 * 2**20  # of what is kept
REFUSALS = (TypeError, ValueError, LaunchError)  # raised by the checks and by launches, with a message for the page


@dataclass(frozen=True)
class Picture:
    """What a choice shows.

    Args:
        scenario: its tokens.
        trajectory: what the rules did to them.
        payload: the buffer of the player.
        limit: the end of the shared colour scale: the largest finite magnitude in the memories that do not overflow,
            or in all memories if every one overflows.
        overflows: the first token at which a memory is not finite, by the title of its rule.
    """

    scenario: Scenario
    trajectory: Trajectory
    payload: bytes
    limit: float
    overflows: dict[str, int]

    @property
    def digest(self) -> str:
        """The digest of the payload, which identifies the picture."""
        return str(payload.header(self.payload)["digest"])

    @property
    def titles(self) -> list[str]:
        """The titles of the rules, in order."""
        return [rule.title for rule in self.trajectory.rules]

    @property
    def overflow_notes(self) -> list[str]:
        """Say which memories overflow, a sentence each, and what helps where the keys of arrays are too long."""
        said = [
            f"{title} overflows float32 at token {t}: entries that are not finite are hatched, or left out."
            for title, t in self.overflows.items()
        ]
        run, reading = self.trajectory, self.scenario.reading
        length = float(np.linalg.norm(run.stream.k, axis=1).max())
        grows = any(
            rule.title in self.overflows and x.b.max(initial=0.0) * length**2 > 2
            for rule, x in zip(run.rules, run.tokens, strict=True)
        )
        if grows and reading and not reading.normalise:
            said.append(
                "A delta rule multiplies what it holds under a key by 1 less β times the squared length of that key, "
                f"and keys here are up to {length:.3g} long: normalise keys and queries."
            )
        return said


_once = Once(MOST_BYTES)
_askers = ThreadPoolExecutor(256, thread_name_prefix="picture")  # threads that wait, most of them; more would queue


def picture(choice: Choice, upload: uploads.Upload | None = None) -> Picture:
    """Return what a choice shows, computed by the kernel unless it is kept.

    Raises:
        ValueError: with a sentence that says what was expected and what came.
    """
    found = tokens(choice, upload)

    def make() -> Picture:
        with np.errstate(over="ignore", invalid="ignore"):  # the page says it in a sentence
            run = _run(choice, scenario(choice, upload) if choice.origin is Origin.ARRAYS else found)
            packed = payload.of(run, found.labels, answers(run, found.rows, found.labels))
        limit, overflows = float(np.maximum(run.states.max(), -run.states.min())), {}
        if not np.isfinite(limit):
            finite = np.isfinite(run.states)
            stays = finite.all(axis=(1, 2, 3))  # a rule that overflows must not make the others invisible
            limit = float(metrics.scales(run)[stays if stays.any() else slice(None)].max())
            lost = ~finite[:, 1:].all(axis=(2, 3))  # [R, T]
            overflows = {rule.title: int(lost[r].argmax()) for r, rule in enumerate(run.rules) if lost[r].any()}
        return Picture(found, run, packed, limit or 1.0, overflows)

    return _once.get(choice.numbers(), make)


def _run(choice: Choice, found: Scenario) -> Trajectory:
    """Run the rules of a choice on its tokens; the tokens before them are used here only, and are not kept."""
    method = choice.numbers().discretisation
    if found.whole is None:
        return trajectory(choice.rules, found.stream, discretisation=method)
    return trajectory(
        choice.rules, found.whole, window=found.window, from_empty=found.from_empty, discretisation=method
    )


def ask(choice: Choice, upload: uploads.Upload | None = None) -> Future[Picture]:
    """Begin to make what a choice shows, as :func:`picture` does, and return at once.

    What is made goes on and is kept although nobody waits for it any more.
    """
    return _askers.submit(picture, choice, upload)


def inactive(choice: Choice, upload: uploads.Upload | None = None) -> frozenset[str]:
    """Name the settings that do not act on the tokens of a choice; none where there are no tokens."""
    try:
        return tokens(choice, upload).inactive
    except REFUSALS:
        return frozenset()


def reading(choice: Choice, upload: uploads.Upload | None = None) -> tuple[str, str]:
    """Say how the axes of arrays were read, and how long their keys are; "" and "" where they cannot be."""
    try:
        found = tokens(choice, upload)
    except REFUSALS:
        return "", ""
    low, middle, high = found.key_lengths
    return found.read_as, f"Lengths of the keys shown: {low:.3g} to {high:.3g}, median {middle:.3g}."


def heads(choice: Choice, upload: uploads.Upload | None, slug: str) -> Heads:
    """Return what a rule makes of every head of the layer that a choice is about.

    Raises:
        ValueError: with a sentence that says what was expected and what came.
    """
    arrays, numbers = uploads.held(choice, upload).arrays, choice.numbers()
    key = replace(numbers, head=0, start=0, length=0, rules=(slug,))
    method = numbers.discretisation if RULES[slug].discretisation else None
    return _once.get(
        (key, "heads"),
        lambda: find_heads(
            arrays,
            choice.settings,
            RULES[slug],
            batch=choice.batch,
            channels=choice.channels or None,
            reading=choice.reading,
            discretisation=method,
        ),
    )


def heads_listed(found: Heads, shown: int) -> list[dict[str, Any]]:
    """Return heads as rows of a table; ``shown`` is the one that the player shows."""

    def numbers(x: np.ndarray) -> list[float]:
        return [float(n) for n in x if np.isfinite(n)]

    return [
        {
            "head": head,
            "here": "shown" if head == shown else "",
            "norm": numbers(found.norm[head]),
            "|S|": float(found.norm[head, -1]) if np.isfinite(found.norm[head, -1]) else None,
            "rank": numbers(found.rank[head]),
            "rank now": float(found.rank[head, -1]) if np.isfinite(found.rank[head, -1]) else None,
            "half-life": float(found.half_life[head]) if np.isfinite(found.half_life[head]) else None,
            "beta": float(found.beta[head]),
        }
        for head in range(len(found.norm))
    ]


def scenario(choice: Choice, upload: uploads.Upload | None = None) -> Scenario:
    """Return the tokens of a choice.

    Args:
        choice: what the visitor chose.
        upload: the visitor's files, which a choice of arrays needs.

    Raises:
        ValueError: with a sentence that says what was expected and what came.
    """
    if choice.origin is Origin.PRESET:
        return scenarios.from_preset(choice.preset, choice.settings)
    if choice.origin is Origin.TEXT:
        return scenarios.from_text(choice.text, choice.settings)
    if choice.origin is Origin.TABLE:
        return scenarios.from_table([asdict(row) for row in choice.table], choice.settings)
    return scenarios.from_arrays(
        uploads.held(choice, upload).arrays,
        choice.settings,
        head=choice.head,
        batch=choice.batch,
        start=choice.start,
        length=choice.length or None,
        channels=choice.channels or None,
        reading=choice.reading,
    )


def tokens(choice: Choice, upload: uploads.Upload | None = None) -> Scenario:
    """Return the tokens of a choice as :func:`scenario` does, cached, without the tokens before them."""
    if choice.origin is Origin.ARRAYS:
        uploads.held(choice, upload)
    return _once.get((choice.numbers(), "tokens"), lambda: replace(scenario(choice, upload), whole=None))


def rules(choice: Choice) -> list[WriteRule]:
    """Return the rules of a choice, as it discretises them."""
    found = [RULES[slug] for slug in choice.rules]
    method = choice.discretisation
    return [rule.discretised(method) if rule.discretisation and method else rule for rule in found]


def look_for(choice: Choice, picture: Picture) -> str:
    """Return what to look for in a picture, in sentences that speak of no other rules than those shown."""
    return scenarios.about(picture.scenario.look_for, rules(choice))


def equations(choice: Choice) -> list[str]:
    """Return the equation of each rule, in TeX."""
    return [r",\quad ".join(filter(None, (tex(rule), tex_gates(rule)))) for rule in rules(choice)]


def gates(choice: Choice, picture: Picture) -> list[dict[str, tuple[float, float]]]:
    """Return the least and the largest of each gate of each rule, over the tokens and channels that are shown.

    The names are the letters of the equation, in TeX; a rule without gates has none.
    """
    found = []
    for rule, x in zip(rules(choice), picture.trajectory.tokens, strict=True):
        token = letters(rule)[1]
        given = ((token.g, np.exp(x.g)), (token.b, x.b), (token.w, x.w))
        found.append(
            {letter.tex: (float(np.min(n)), float(np.max(n))) for letter, n in given if letter.width is not Gate.NONE}
        )
    return found


def recall(choice: Choice, picture: Picture) -> np.ndarray:
    """Return the recall error of a picture, [R, T, T]."""
    meant = picture.scenario.meant
    return _once.get(
        (choice.numbers(), "recall"), lambda: _measured(lambda run: metrics.recall_error(run, meant), picture)
    )


def every_key(choice: Choice, picture: Picture, token: int) -> list[dict[str, str]]:
    """Return what each memory answers after a token to every key written so far, in words, a dict a key."""

    def make() -> list[dict[str, str]]:
        run, rows, labels = picture.trajectory, picture.scenario.rows, picture.scenario.labels
        found = answers(run, rows, labels, token=token)
        listed = []
        for p, by in enumerate(found.asked[token]):
            if by >= 0:
                said = {title: words(found, r, token, p + 1) for r, title in enumerate(picture.titles)}
                listed.append({"key": found.keys[by], "holds": found.values[found.written[by]]} | said)
        return listed

    return _once.get((choice.numbers(), "every key", token), make)


def norm_and_rank(choice: Choice, picture: Picture) -> tuple[np.ndarray, np.ndarray]:
    """Return the norm and the effective rank of a picture's memories, each [R, T]."""
    return _once.get(
        (choice.numbers(), "norm and rank"),
        lambda: (_measured(metrics.norm, picture), _measured(metrics.effective_rank, picture)),
    )


def spectrum(choice: Choice, picture: Picture) -> tuple[np.ndarray, ...]:
    """Return the eigenvalues of the transition of each token, [T, N] for each rule."""
    return _once.get((choice.numbers(), "spectrum"), lambda: _measured(metrics.spectrum, picture))


def _measured(measure: Callable[[Trajectory], Any], picture: Picture) -> Any:
    """Measure a trajectory; where it overflows the charts have gaps, and the page says so."""
    with np.errstate(over="ignore", invalid="ignore"):
        return measure(picture.trajectory)


def stage(picture: Picture, t: int, stage: Stage) -> list[np.ndarray]:
    """Return one matrix of token t for each rule, [V, K]."""
    found = []
    for r in range(len(picture.trajectory.rules)):
        moments = picture.trajectory.moments(r, t)
        if stage is Stage.TAKEN:
            found.append(moments.decayed - moments.erased)
        elif stage is Stage.ADDED:
            found.append(moments.written - moments.erased)
        else:
            found.append(getattr(moments, stage.value))
    return found


def numbers(choice: Choice, picture: Picture) -> list[dict[str, Any]]:
    """Return the numbers of each token under each rule, a dict a row; lengths are Euclidean."""
    run = picture.trajectory
    norm, rank = norm_and_rank(choice, picture)
    errors = recall(choice, picture)
    lengths = {name: np.linalg.norm(getattr(run, name), axis=-1) for name in ("wv", "read", "u", "o")}  # [R, T]
    rows = []
    for r, rule in enumerate(run.rules):
        for t, label in enumerate(picture.scenario.labels):
            row = {"rule": rule.slug, "token": t, "label": label}
            row |= {"|w v|" if name == "wv" else f"|{name}|": float(of[r, t]) for name, of in lengths.items()}
            row |= {"|S|": float(norm[r, t]), "effective rank": float(rank[r, t])}
            row["mean recall error"] = float(np.nanmean(errors[r, t])) if np.isfinite(errors[r, t]).any() else None
            rows.append(row)
    return rows
