"""Choices as arrays, computed once however many visitors ask, and kept as long as there is room."""

from __future__ import annotations

import gc
import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from concurrent.futures import Future
from dataclasses import asdict, dataclass, fields, is_dataclass
from functools import cache
from typing import Any

import numpy as np

from app.player import payload
from app.state import MOST_RULES, TEXTS, Choice, File, Row, Source, Stage, named
from gdn_core.equation import tex, tex_gates
from gdn_core.lab import files, metrics, scenarios
from gdn_core.lab.scenarios import COLUMNS, Scenario
from gdn_core.lab.trajectory import Trajectory, trajectory
from gdn_core.lab.worker.pool import LaunchError, pool
from gdn_core.rules import RULES

MOST_BYTES = 256 * 2**20
REFUSALS = (TypeError, ValueError, LaunchError)  # what the doors and the kernel's launcher raise, each with a sentence


class NoFileError(ValueError):
    """A file is needed that the visitor has not given; the message asks for it."""


@dataclass(frozen=True)
class Upload:
    """A visitor's files, read through the door.

    Args:
        files: the names and digests of those that are used.
        arrays: what they hold together, by name.
        refused: a sentence for each file that cannot be read.
    """

    files: tuple[File, ...]
    arrays: dict[str, np.ndarray]
    refused: tuple[str, ...] = ()

    @property
    def bytes(self) -> int:
        """The bytes that the arrays take."""
        return sum(array.nbytes for array in self.arrays.values())


@dataclass(frozen=True)
class Picture:
    """What a choice shows.

    Args:
        scenario: its tokens.
        trajectory: what the rules did to them.
        payload: the buffer of the player.
        limit: the largest finite magnitude in any memory, the end of the scale that all of them share.
        overflows: the first token at which a memory is not finite any more, by the title of its rule.
    """

    scenario: Scenario
    trajectory: Trajectory
    payload: bytes
    limit: float
    overflows: dict[str, int]

    @property
    def digest(self) -> str:
        """Tell pictures apart."""
        return str(payload.header(self.payload)["digest"])

    @property
    def titles(self) -> list[str]:
        """The titles of the rules, in order."""
        return [rule.title for rule in self.trajectory.rules]


def equations(choice: Choice) -> list[str]:
    """Return the equation of each rule, in TeX, as the choice discretises it."""
    found = []
    for rule in (RULES[slug] for slug in choice.rules):
        if rule.discretisation and choice.discretisation:
            rule = rule.discretised(choice.discretisation)
        found.append(r",\quad ".join(filter(None, (tex(rule), tex_gates(rule)))))
    return found


class Once:
    """A bounded cache in which those who ask for the same thing at once wait for one computation.

    Args:
        most_bytes: how much the kept values may take; the ones longest unused go first.
    """

    def __init__(self, most_bytes: int) -> None:
        self._most = most_bytes
        self._lock = threading.Lock()
        self._kept: OrderedDict[Hashable, tuple[Any, int]] = OrderedDict()
        self._running: dict[Hashable, Future[Any]] = {}
        self._bytes = 0

    def __len__(self) -> int:
        """Count the values kept."""
        return len(self._kept)

    @property
    def bytes(self) -> int:
        """The bytes that the kept values take."""
        return self._bytes

    def get(self, key: Hashable, make: Callable[[], Any]) -> Any:
        """Return the value of a key, made now if it is not kept; what ``make`` raises reaches all who wait."""
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key][0]
            waiting = self._running.get(key)
            if waiting is None:
                mine: Future[Any] = Future()
                self._running[key] = mine
        if waiting is not None:
            return waiting.result()
        try:
            value = make()
        except BaseException as error:
            with self._lock:
                del self._running[key]
            mine.set_exception(error)
            raise
        leaves = list(_leaves(value))
        for leaf in leaves:
            if isinstance(leaf, np.ndarray):
                leaf.flags.writeable = False  # other visitors see the same array
        size = sum(leaf.nbytes if isinstance(leaf, np.ndarray) else len(leaf) for leaf in leaves)
        with self._lock:
            del self._running[key]
            self._kept[key] = (value, size)
            self._bytes += size
            while self._bytes > self._most and len(self._kept) > 1:
                _, (_, freed) = self._kept.popitem(last=False)
                self._bytes -= freed
        mine.set_result(value)
        return value


_once = Once(MOST_BYTES)


def upload(given: Iterable[tuple[str, bytes]]) -> Upload:
    """Read a visitor's files, each a name and its bytes, in the order in which they were given.

    Of two files with an array of one name the later counts. If it holds keys, nothing of the earlier is used: gates
    that came with other keys would act on these unnoticed.
    """
    used: dict[File, dict[str, np.ndarray]] = {}
    refused = []
    for name, data in given:
        name = name.replace("/", "_")[-200:]
        try:
            found = files.read(name, data)
        except (TypeError, ValueError) as error:
            refused.append(str(error))
            continue
        if "k" in found:
            used = {file: held for file, held in used.items() if not held.keys() & found.keys()}
        used[File(name, hashlib.sha256(data).hexdigest()[:16])] = found
    return Upload(tuple(used), {name: x for held in used.values() for name, x in held.items()}, tuple(refused))


def scenario(choice: Choice, upload: Upload | None = None) -> Scenario:
    """Return the tokens of a choice.

    Args:
        choice: what the visitor chose.
        upload: the visitor's files, which a choice of arrays needs.

    Raises:
        ValueError: with a sentence that says what was expected and what came.
    """
    if choice.source is Source.PRESET:
        return scenarios.from_preset(choice.preset, choice.settings)
    if choice.source is Source.TEXT:
        return scenarios.from_text(choice.text, choice.settings)
    if choice.source is Source.TABLE:
        return scenarios.from_table([asdict(row) for row in choice.table], choice.settings)
    return scenarios.from_arrays(
        held(choice, upload).arrays,
        choice.settings,
        head=choice.head,
        batch=choice.batch,
        start=choice.start,
        length=choice.length or None,
        channels=choice.channels or None,
    )


def tokens(choice: Choice, upload: Upload | None = None) -> Scenario:
    """Return the tokens of a choice as :func:`scenario` does, made once."""
    if choice.source is Source.ARRAYS:
        held(choice, upload)
    return _once.get((choice.numbers(), "tokens"), lambda: scenario(choice, upload))


def picture(choice: Choice, upload: Upload | None = None) -> Picture:
    """Return what a choice shows, computed by the kernel unless it is kept.

    Raises:
        ValueError: with a sentence that says what was expected and what came.
    """

    found = tokens(choice, upload)

    def make() -> Picture:
        with np.errstate(over="ignore", invalid="ignore"):  # the page says it in a sentence
            run = trajectory(choice.rules, found.stream, discretisation=choice.numbers().discretisation)
            packed = payload.of(run, found.labels)
        sizes, overflows = np.abs(run.states), {}
        limit = float(sizes.max())
        if not np.isfinite(limit):
            finite = np.isfinite(sizes)
            limit = float(sizes.max(initial=0.0, where=finite))
            lost = ~finite[:, 1:].all(axis=(2, 3))  # [R, T]
            overflows = {rule.title: int(lost[r].argmax()) for r, rule in enumerate(run.rules) if lost[r].any()}
        return Picture(found, run, packed, limit or 1.0, overflows)

    return _once.get(choice.numbers(), make)


def held(choice: Choice, upload: Upload | None) -> Upload:
    """Return the visitor's files: nobody sees a file by knowing its digest.

    Raises:
        NoFileError: if the visitor does not hold the files that the choice names.
    """
    if not choice.files:
        raise NoFileError("Choose a file of arrays in the controls: .npz, .npy, .csv or .safetensors")
    if upload is None or upload.files != choice.files:
        raise NoFileError(f"Choose in the controls the file that this link cannot carry: {named(choice.files)}")
    return upload


def recall(choice: Choice, picture: Picture) -> np.ndarray:
    """Return the recall error of a picture, [R, T, T]."""
    return _once.get((choice.numbers(), "recall"), lambda: _measured(metrics.recall_error, picture))


def sizes(choice: Choice, picture: Picture) -> tuple[np.ndarray, np.ndarray]:
    """Return the norm and the effective rank of a picture's memories, each [R, T]."""
    return _once.get(
        (choice.numbers(), "sizes"),
        lambda: (_measured(metrics.norm, picture), _measured(metrics.effective_rank, picture)),
    )


def spectrum(choice: Choice, picture: Picture) -> tuple[np.ndarray, ...]:
    """Return the eigenvalues of the transition of each token, [T, N] for each rule."""
    return _once.get((choice.numbers(), "spectrum"), lambda: _measured(metrics.spectrum, picture))


def _measured(measure: Callable[[Trajectory], Any], picture: Picture) -> Any:
    """Measure a trajectory; where it overflows the figures have gaps, and the page has said so."""
    with np.errstate(over="ignore", invalid="ignore"):
        return measure(picture.trajectory)


def _leaves(value: Any) -> Iterator[np.ndarray | bytes | str]:
    """Yield what is large in a value: its arrays, buffers and texts."""
    if isinstance(value, np.ndarray | bytes | str):
        yield value
    elif is_dataclass(value):
        for f in fields(value):
            yield from _leaves(getattr(value, f.name))
    elif isinstance(value, list | tuple) and len(value) <= MOST_RULES:  # a longer one has a word for each token
        for part in value:
            yield from _leaves(part)


def start() -> None:
    """Start one of the processes that run the kernels, and return at once."""
    pool().warm(1)


@cache
def settle() -> None:
    """Start the other processes, and keep what was imported out of the garbage collector's way.

    Streamlit collects garbage after every run of a page, and goes through every object that is not frozen.
    """
    pool().warm()
    gc.collect()
    gc.freeze()


def stage(picture: Picture, t: int, stage: Stage) -> list[np.ndarray]:
    """Return one matrix of the moment of token t for each rule, [V, K]."""
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


def rows(cells: Iterable[Mapping[str, Any]]) -> tuple[Row, ...]:
    """Return the rows that a visitor filled in a table; a cell may be blank, and a blank row is left out."""
    filled = []
    for cell in cells:
        read: dict[str, Any] = {name: str(cell.get(name) or "").strip() for name in TEXTS}
        for name in COLUMNS:
            if name not in TEXTS:
                gate = cell.get(name)
                read[name] = None if gate is None or gate != gate else float(gate)
        row = Row(**read)
        if row != Row(label=row.label):
            filled.append(row)
    return tuple(filled)


def as_table(scenario: Scenario) -> tuple[Row, ...]:
    """Return the tokens of a scenario as the rows of a table to edit."""
    return rows(scenarios.table_of(scenario))


def numbers(choice: Choice, picture: Picture) -> list[dict[str, Any]]:
    """Return the numbers of each token under each rule, a dict a row; lengths are Euclidean."""
    run = picture.trajectory
    norm, rank = sizes(choice, picture)
    errors = recall(choice, picture)
    lengths = {name: np.linalg.norm(getattr(run, name), axis=-1) for name in ("wv", "read", "u", "o")}  # [R, T]
    rows = []
    for r, rule in enumerate(run.rules):
        for t, label in enumerate(picture.scenario.labels):
            row = {"rule": rule.slug, "token": t, "label": label}
            row |= {f"|{name}|": float(of[r, t]) for name, of in lengths.items()}
            row |= {"|S|": float(norm[r, t]), "effective rank": float(rank[r, t])}
            row["mean recall error"] = float(np.nanmean(errors[r, t])) if np.isfinite(errors[r, t]).any() else None
            rows.append(row)
    return rows
