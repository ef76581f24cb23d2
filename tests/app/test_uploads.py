"""A visitor's files: which of several count, what they are called, and that nobody else sees them."""

import gc
import io
from dataclasses import replace

import numpy as np
import pytest

from app import compute, uploads
from app.choice import Choice, File, Origin
from gdn_core.lab.scenarios import Reading


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
        "keys: float64 [3, 3]", "g: float64 [3]", "layers.3.k: float64 [3, 3]", "ids: int64 [3]"
    ]  # fmt: skip
    assert both.members[-1].left
    again = uploads.read([("first.npz", first), ("other.npz", npz(keys=np.eye(3)))])
    assert [file.name for file in again.files] == ["other.npz"]


def of(size: int) -> uploads.Upload:
    """An upload of so many bytes."""
    return uploads.read([(f"{size}.npy", npy(np.ones((size // 8, 1))))])


def npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def test_what_was_not_used_for_longest_is_let_go_and_asked_for_again() -> None:
    shelf, made = uploads.Shelf(1000), [of(320), of(328), of(336)]
    for upload in made:
        shelf.put(upload)
    assert shelf.bytes == 984
    shelf.use(made[0])
    shelf.put(fourth := of(344))
    assert [upload.let_go for upload in (*made, fourth)] == [False, True, False, False]
    assert shelf.bytes == 1000
    choice = Choice(origin=Origin.ARRAYS, files=made[1].files)
    with pytest.raises(uploads.NoFileError, match=r"256 MB of arrays for all visitors.*328\.npy"):
        uploads.held(choice, made[1])
    shelf.put(large := of(4000))
    assert not large.let_go
    assert shelf.bytes == 4000


def test_an_upload_that_nobody_holds_is_on_no_shelf_and_a_shared_file_counts_once() -> None:
    shelf, first = uploads.Shelf(10**6), of(800)
    shelf.put(first)
    shelf.put(second := uploads.together([*first.given, *of(80).given]))
    assert shelf.bytes == second.bytes == 800 + 80
    del first, second
    gc.collect()
    assert shelf.bytes == 0


def test_a_visitor_s_files_have_a_limit_together() -> None:
    given = [uploads.look(f"{name}.npy", npy(np.ones((50, 2)))) for name in "kv"]
    both = uploads.together(given, most=1600)
    assert set(both.arrays) == {"k", "v"}
    one = uploads.together(given, most=1599)
    assert set(one.arrays) == {"k"}
    assert one.refused == (
        "v.npy: expected at most 1.56 kB of arrays in all the files of a visitor, got 1.56 kB: "
        "take another file away first",
    )


LAYERS = {f"layers.{i}.{name}": np.full((4, 2), float(i)) for i in (0, 5) for name in ("k", "v")}


def test_what_would_be_guessed_is_not_said_and_other_keys_are_another_layer() -> None:
    upload = uploads.read([("a.npz", npz(**LAYERS, odd=np.ones((4, 3)), ids=np.arange(4)))])
    assert uploads.roles(upload, Reading()) == {"k": "layers.0.k", "v": "layers.0.v"}
    names = uploads.mapped(upload, Reading(), "k", "layers.5.k")
    assert names == (("k", "layers.5.k"),)
    fifth = Reading(names=names)
    assert uploads.roles(upload, fifth) == {"k": "layers.5.k", "v": "layers.5.v"}
    assert uploads.mapped(upload, fifth, "k", "layers.0.k") == ()
    assert uploads.mapped(upload, fifth, "v", "layers.5.v") == names
    odd = uploads.mapped(upload, fifth, "v", "odd")
    assert dict(odd) == {"k": "layers.5.k", "v": "odd"}
    assert dict(uploads.mapped(upload, Reading(names=odd), "q", "odd")) == {"k": "layers.5.k", "q": "odd"}
    assert dict(uploads.mapped(upload, fifth, "v", "")) == {"k": "layers.5.k", "v": ""}
    assert uploads.mapped(upload, Reading(names=odd), "k", "layers.0.k") == ()


def test_saying_one_form_of_the_decay_takes_the_other_back() -> None:
    upload = uploads.read([("a.npz", npz(k=np.eye(3), g=-np.ones(3), alpha=np.full(3, 0.5)))])
    assert uploads.roles(upload, Reading()) == {"k": "k", "g": "g"}
    said = uploads.mapped(upload, Reading(), "alpha", "alpha")
    assert uploads.roles(upload, Reading(names=said)) == {"k": "k", "alpha": "alpha"}
    assert uploads.mapped(upload, Reading(names=said), "g", "g") == ()


def test_the_list_says_what_each_array_is_used_as_or_why_it_is_left() -> None:
    upload = uploads.read([("a.npz", npz(keys=np.eye(3, dtype=np.float32), x=np.eye(2), ids=np.arange(4)))])
    rows = uploads.listed(upload, Reading())
    assert rows[0] == {"name": "keys", "sizes": "3 x 3", "numbers": "float32", "use": "used as k"}
    assert rows[1] == {"name": "x", "sizes": "2 x 2", "numbers": "float64", "use": "not used"}
    assert rows[2]["use"].startswith("left: expected float16")
    assert uploads.listed(upload, Reading(names=(("v", "x"),)))[1]["use"] == "used as v"


def test_a_mapping_of_arrays_that_are_not_there_starts_from_the_guess() -> None:
    upload = uploads.read([("a.npz", npz(k=np.eye(3)))])
    assert uploads.roles(upload, Reading(names=(("k", "other"), ("v", "gone")))) == {"k": "k"}
