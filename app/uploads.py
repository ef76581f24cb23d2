"""A visitor's files: read through the door, named with digests, and shown to nobody else."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from app.choice import Choice, File, named
from gdn_core.lab import files
from gdn_core.lab.files import Contents, Member
from gdn_core.lab.names import guesses


class NoFileError(ValueError):
    """A file is needed that the visitor has not given; the message asks for it."""


@dataclass(frozen=True)
class Upload:
    """A visitor's files, read through the door.

    Args:
        files: the names and digests of those that are used.
        arrays: what they hold together, by name.
        members: everything that they hold, what is not used too.
        refused: a sentence for each file that cannot be read.
    """

    files: tuple[File, ...]
    arrays: dict[str, np.ndarray]
    refused: tuple[str, ...] = ()
    members: tuple[Member, ...] = ()

    @property
    def bytes(self) -> int:
        """The bytes that the arrays take."""
        return sum(array.nbytes for array in self.arrays.values())


def read(given: Iterable[tuple[str, bytes]]) -> Upload:
    """Read a visitor's files, each a name and its bytes, in the order in which they were given.

    Of two files with an array of one name the later counts. If it holds keys, nothing of the earlier is used: gates
    that came with other keys would act on these unnoticed.
    """
    used: dict[File, Contents] = {}
    refused = []
    for name, data in given:
        name = name.replace("/", "_")[-200:]
        try:
            found = files.contents(name, data)
        except (TypeError, ValueError) as error:
            refused.append(str(error))
            continue
        if "k" in guesses(found.arrays):
            used = {file: held for file, held in used.items() if not held.arrays.keys() & found.arrays.keys()}
        used[File(name, hashlib.sha256(data).hexdigest()[:16])] = found
    arrays = {name: x for held in used.values() for name, x in held.arrays.items()}
    members = tuple(member for held in used.values() for member in held.members)
    return Upload(tuple(used), arrays, tuple(refused), members)


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
