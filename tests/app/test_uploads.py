"""A visitor's files: which of several count, what they are called, and that nobody else sees them."""

import io
from dataclasses import replace

import numpy as np
import pytest

from app import compute, uploads
from app.choice import Choice, File, Origin


def npz(**arrays: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def test_a_file_s_name_is_kept_short_and_without_folders() -> None:
    (file,) = uploads.read([("a/b/" + "x" * 400 + ".npz", npz(k=np.eye(2)))]).files
    assert isinstance(file, File)
    assert "/" not in file.name
    assert len(file.name) <= 200



def test_two_files_of_one_name_are_two_pictures() -> None:
    first, second = (uploads.read([("a.npz", npz(k=np.eye(3) * size))]) for size in (1.0, 2.0))
    assert first.files != second.files
    shown = [compute.picture(Choice(origin=Origin.ARRAYS, files=u.files), u) for u in (first, second)]
    assert shown[0].scenario.stream.k[0, 0] == 1.0
    assert shown[1].scenario.stream.k[0, 0] == 2.0


def test_nobody_sees_a_file_by_knowing_its_digest() -> None:
    k = np.eye(4)
    mine = uploads.read([("mine.npz", npz(k=k))])
    choice = Choice(origin=Origin.ARRAYS, files=mine.files)
    np.testing.assert_array_equal(compute.picture(choice, mine).scenario.stream.k, k)
    with pytest.raises(ValueError, match=r"mine\.npz"):
        compute.picture(choice)
    with pytest.raises(ValueError, match=r"mine\.npz"):
        compute.picture(choice, uploads.read([("other.npz", npz(k=2 * k))]))
    with pytest.raises(ValueError, match="Choose a file"):
        compute.picture(replace(choice, files=()), mine)


def test_of_two_files_with_keys_nothing_of_the_earlier_is_used_and_a_bad_one_spoils_no_other() -> None:
    first, second = npz(k=np.eye(3), g=-np.ones(3)), npz(k=2 * np.eye(3))
    both = uploads.read([("first.npz", first), ("bad.npz", b"PK"), ("second.npz", second)])
    assert [file.name for file in both.files] == ["second.npz"]
    assert set(both.arrays) == {"k"}
    assert len(both.refused) == 1
    assert "bad.npz" in both.refused[0]


def test_files_of_single_arrays_belong_together_and_the_later_of_one_name_counts() -> None:
    files = [("g.npz", npz(g=-np.ones(3))), ("k.npz", npz(k=np.eye(3))), ("h.npz", npz(g=-np.full(3, 2.0)))]
    together = uploads.read(files)
    assert set(together.arrays) == {"k", "g"}
    np.testing.assert_array_equal(together.arrays["g"], -np.full(3, 2.0))


def test_what_a_file_holds_is_listed_and_keys_are_known_by_other_names() -> None:
    first, second = npz(keys=np.eye(3), g=-np.ones(3)), npz(**{"layers.3.k": 2 * np.eye(3), "ids": np.arange(3)})
    both = uploads.read([("first.npz", first), ("second.npz", second)])
    assert [str(member) for member in both.members] == [
        "keys: float64 [3, 3]", "g: float64 [3]", "layers.3.k: float64 [3, 3]", "ids"
    ]  # fmt: skip
    assert both.members[-1].left
    again = uploads.read([("first.npz", first), ("other.npz", npz(keys=np.eye(3)))])
    assert [file.name for file in again.files] == ["other.npz"]
