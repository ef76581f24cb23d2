"""A visitor's files: read through the door, named with digests, shown to nobody else, and kept within a limit."""

from __future__ import annotations

import ctypes
import hashlib
import threading
import weakref
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np

from app.choice import Choice, File, Origin, named
from gdn_core.lab import files, names
from gdn_core.lab.files import Contents, Member
from gdn_core.lab.limits import LIMITS, size
from gdn_core.lab.scenarios import Reading


class NoFileError(ValueError):
    """A file is needed that the visitor has not given; the message asks for it."""


@dataclass(frozen=True, eq=False)
class Given:
    """One file that a visitor gave.

    Args:
        key: what the page calls it, "" for nothing.
        file: its name and digest.
        contents: what it holds, None if it cannot be read.
        refused: a sentence that says why it cannot, "" if it can.
    """

    key: str
    file: File
    contents: Contents | None = None
    refused: str = ""


@dataclass(eq=False)
class Upload:
    """A visitor's files, read through the door.

    Args:
        files: the names and digests of those that are used.
        arrays: what they hold together, by name.
        members: everything that they hold, what is not used too.
        refused: a sentence for each file that is not used.
        given: every file, used or not.
        let_go: the server keeps the arrays no more.
    """

    files: tuple[File, ...]
    arrays: dict[str, np.ndarray]
    refused: tuple[str, ...] = ()
    members: tuple[Member, ...] = ()
    given: tuple[Given, ...] = field(default=(), repr=False)
    let_go: bool = False

    @property
    def bytes(self) -> int:
        """The bytes that the arrays of all its files take."""
        return sum(_sizes([self]).values())


def _sizes(uploads: Iterable[Upload]) -> dict[int, int]:
    """Return the bytes of every array of uploads, by what tells it from the others: uploads may share a file."""
    kept = (one.contents for upload in uploads for one in upload.given if one.contents)
    return {id(x): x.nbytes for contents in kept for x in contents.arrays.values()}


class Shelf:
    """The uploads of all visitors, within a number of bytes. An upload that nobody holds any more is not on it.

    Args:
        most: bytes; past it the uploads that were not used for longest are let go, but never the newest.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._held: OrderedDict[int, weakref.ref[Upload]] = OrderedDict()

    @property
    def bytes(self) -> int:
        """The bytes that the arrays of all uploads take."""
        return sum(_sizes(self._there()).values())

    def put(self, upload: Upload) -> None:
        """Keep an upload, and let go of others where all of them take too much."""
        with self._lock:
            self._held[id(upload)] = weakref.ref(upload)
            self._held.move_to_end(id(upload))
            there = self._there()
            while len(there) > 1 and sum(_sizes(there).values()) > self._most:
                let_go(there.pop(0))

    def use(self, upload: Upload) -> None:
        """Note that an upload is used."""
        with self._lock:
            if id(upload) in self._held:
                self._held.move_to_end(id(upload))

    def _there(self) -> list[Upload]:
        """Return the uploads that are kept, the one longest unused first, and forget those that are not."""
        found = []
        for key, reference in list(self._held.items()):
            upload = reference()
            if upload is None or upload.let_go:
                del self._held[key]
            else:
                found.append(upload)
        return found


#: The uploads of all visitors of this server.
SHELF = Shelf(LIMITS.visitors_bytes)


def let_go(upload: Upload) -> None:
    """Keep the arrays of an upload no more: whoever is computing with them has them until then."""
    upload.let_go, upload.arrays, upload.given = True, {}, ()


def give_back_memory() -> None:
    """Give free memory back to the system, which the C library would keep in pieces for what may come."""
    if trim := _trim():
        trim(0)


@cache
def _trim() -> Any:
    """Return the C library's function for it, None where it has none."""
    return getattr(ctypes.CDLL(None), "malloc_trim", None)


def look(name: str, data: bytes, *, key: str = "") -> Given:
    """Read one file, given by its name and its bytes."""
    name = name.replace("/", "_")[-200:] or "a file without a name"
    file = File(name, hashlib.sha256(data).hexdigest()[:16])
    try:
        return Given(key, file, files.contents(name, data))
    except (TypeError, ValueError) as error:
        return Given(key, file, refused=str(error))


def read(given: Iterable[tuple[str, bytes]]) -> Upload:
    """Read a visitor's files, each a name and its bytes, in the order in which they were given."""
    return together([look(name, data) for name, data in given])


def together(given: Sequence[Given], *, most: int = LIMITS.visitor_bytes) -> Upload:
    """Put a visitor's files together, in the order in which they were given.

    Of two files with an array of one name the later counts. If it holds keys, nothing of the earlier is used: gates
    that came with other keys would act on these unnoticed. Past ``most`` bytes of arrays a file is refused.
    """
    used: dict[File, Contents] = {}
    kept, refused, total = [], [], 0
    for one in given:
        found = one.contents
        taken = sum(x.nbytes for x in found.arrays.values()) if found else 0
        if found is None or total + taken > most:
            refused.append(one.refused or f"{one.file.name}: expected at most {size(most)} of arrays in all the files "
                           f"of a visitor, got {size(total + taken)}: take another file away first")  # fmt: skip
            if found is None:
                kept.append(one)
            continue
        total += taken
        kept.append(one)
        if "k" in names.guesses(found.arrays):
            used = {file: held for file, held in used.items() if not held.arrays.keys() & found.arrays.keys()}
        used[one.file] = found
    arrays = {name: x for held in used.values() for name, x in held.arrays.items()}
    members = tuple(member for held in used.values() for member in held.members)
    return Upload(tuple(used), arrays, tuple(refused), members, tuple(kept))


def held(choice: Choice, upload: Upload | None) -> Upload:
    """Return the visitor's files: nobody sees a file by knowing its digest.

    Raises:
        NoFileError: if the visitor does not hold the files that the choice names.
    """
    if not choice.files:
        raise NoFileError("Choose a file of arrays in the controls: .npz, .npy, .csv or .safetensors")
    if upload is None or upload.files != choice.files:
        raise NoFileError(f"Choose in the controls the file that this link cannot carry: {named(choice.files)}")
    if upload.let_go:
        raise NoFileError(
            f"The server keeps {size(LIMITS.visitors_bytes)} of arrays for all visitors, and it let go of yours, which "
            f"were not used for longest. Take the file away and choose it again: {named(choice.files)}"
        )
    return upload


def roles(upload: Upload, reading: Reading) -> dict[str, str]:
    """Return the name of the array in each role, as far as what a reading says fits the upload."""
    said = {role: name for role, name in reading.names if not name or name in upload.arrays}
    return names.guesses((name for name in upload.arrays if name not in said.values()), said=said)


def keyless(choice: Choice, upload: Upload | None) -> bool:
    """Tell whether the visitor's files are there, and none of their arrays is taken for the keys."""
    there = choice.origin is Origin.ARRAYS and upload is not None and not upload.let_go
    return bool(there and upload and upload.arrays and "k" not in roles(upload, choice.reading))


def mapped(upload: Upload, reading: Reading, role: str, name: str) -> tuple[tuple[str, str], ...]:
    """Return what a reading is to say so that a role has this array, or none for "".

    No other role keeps the array. Other keys are another layer, so all else is guessed anew. What would be guessed
    anyway is not said, which keeps links short.
    """
    said = {} if role == "k" else {r: n for r, n in reading.names if r != role and n != name}
    if name:
        said.pop({"g": "alpha", "alpha": "g"}.get(role, ""), None)  # either says the decay
    said[role] = name
    for other in list(said):
        rest = tuple((r, n) for r, n in said.items() if r != other)
        if roles(upload, Reading(names=rest)) == roles(upload, Reading(names=tuple(said.items()))):
            del said[other]
    return tuple(said.items())


def listed(upload: Upload, reading: Reading) -> list[dict[str, str]]:
    """List what an upload holds: names, sizes, numbers, and what each is used as or why it is left."""
    used = {name: role for role, name in roles(upload, reading).items()}
    rows = []
    for member in upload.members:
        use = f"left: {member.left[max(member.left.find('expected'), 0) :]}" if member.left else "not used"
        if member.name in used:
            use = f"used as {used[member.name]}"
        rows.append(
            {
                "name": member.name,
                "use": use,
                "sizes": " x ".join(f"{n:,}" for n in member.shape) if member.dtype else "",
                "numbers": member.dtype,
            }
        )
    return rows
