"""Files to arrays: what is written comes back to the bit, and everything else is one sentence."""

import pickle
import shlex
import subprocess
import sys
import tracemalloc

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from safetensors.numpy import save as save_safetensors
from safetensors.torch import save as save_torch

from gdn_core.lab import files
from gdn_core.lab.files import read
from tests.gdn_core.lab.files.made import Bomb, X, npy, npz, raw_npy, refused, zipped

FLOATS = st.sampled_from(["<f2", "<f4", "<f8", ">f2", ">f4", ">f8"])
ANY = FLOATS.flatmap(lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5)))


class TestWhatIsWrittenComesBack:
    """Every kind of file, to the bit."""

    @given(ANY, st.booleans())
    def test_from_npy_in_either_order_of_bytes_and_axes(self, x, fortran):
        given_ = np.asfortranarray(x) if fortran else x
        (got,) = read("v.npy", npy(given_)).values()
        assert got.dtype == x.dtype.newbyteorder("=")
        assert got.flags.c_contiguous
        np.testing.assert_array_equal(got, x)

    @given(ANY, ANY, st.sampled_from([np.savez, np.savez_compressed]))
    def test_from_npz_stored_or_deflated(self, k, v, save):
        got = read("stream.NPZ", npz(save, k=k, v=v, other=k))
        assert set(got) == {"k", "v", "other"}
        np.testing.assert_array_equal(got["k"], k)
        np.testing.assert_array_equal(got["v"], v)

    @given(st.sampled_from(["f2", "f4", "f8"]).flatmap(lambda dtype: hnp.arrays(dtype, (2, 3))))
    def test_from_safetensors(self, x):
        got = read("x.safetensors", save_safetensors({"k": x}))["k"]
        assert got.dtype == x.dtype
        np.testing.assert_array_equal(got, x)

    def test_from_safetensors_in_bfloat16_as_float32(self):
        x = torch.randn(3, 4, generator=torch.Generator().manual_seed(0)).to(torch.bfloat16)
        x[0, 0], x[0, 1] = float("inf"), -0.0
        got = read("x.safetensors", save_torch({"k": x}))["k"]
        assert got.dtype == np.float32
        np.testing.assert_array_equal(got, x.float().numpy())

    def test_from_npy_of_a_later_version(self):
        header = "{'descr': '<f8', 'fortran_order': False, 'shape': (5, 3), }"
        np.testing.assert_array_equal(read("v.npy", raw_npy(header, X.tobytes(), version=2))["v"], X)

    @pytest.mark.parametrize("separator", [",", ";", "\t"])
    @pytest.mark.parametrize("bom", [b"", b"\xef\xbb\xbf"])
    @pytest.mark.parametrize("newline", ["\n", "\r\n"])
    def test_from_csv_with_names_of_columns(self, separator, bom, newline):
        lines = [["V0", "k_1", "k[0]", "g", "beta"], ["1", "2", "3", "-0.5", "1"], [], ["4", "5", "6e-1", "-1", " 0"]]
        got = read("t.csv", bom + newline.join(map(separator.join, lines)).encode())
        assert {name: x.tolist() for name, x in got.items()} == {
            "v": [[1], [4]],
            "k": [[3, 2], [0.6, 5]],
            "g": [-0.5, -1],
            "beta": [1, 0],
        }

    @given(hnp.arrays(float, (3, 2), elements=st.floats(allow_nan=False, allow_infinity=False)))
    def test_from_csv_without_names_to_the_last_bit(self, x):
        data = "\n".join(",".join(map(repr, row)) for row in x.tolist()).encode()
        np.testing.assert_array_equal(read("table.csv", data)["k"], x)

    @pytest.mark.parametrize(
        ("index", "channels"), [("", 3), (",", 3), (",", 1), ("index,", 3), ("Unnamed: 0,", 3), ("Unnamed: 0,", 1)]
    )
    def test_column_numbers_as_pandas_writes_them_are_no_token(self, index, channels):
        x = X[:, :channels]
        rows = [",".join(map(str, range(channels))), *(",".join(map(repr, row)) for row in x.tolist())]
        before = ["", *map("{},".format, range(7, 7 + len(x)))] if index else [""] * len(rows)
        before[0] = index
        held = files.contents("v.csv", "\n".join(map("".join, zip(before, rows, strict=True))).encode())
        np.testing.assert_array_equal(held.arrays["v"], x)
        assert held.members[-1].name == f"the first line, 0 to {channels - 1}"

    @pytest.mark.parametrize("tokens", ["0,1,2\n3,4,5\n", "0,1\n0.6,0.8\n", "0\n-0.5\n", "0,1,2.0\n.5,1,2\n"])
    def test_numbers_that_count_by_chance_are_a_token(self, tokens):
        want = [[float(cell) for cell in line.split(",")] for line in tokens.split()]
        np.testing.assert_array_equal(read("k.csv", tokens.encode())["k"], want)

    @pytest.mark.parametrize("name", ["(layer 3, 'k')", "attn(k)", "h=9,k", "model/0@k"])
    def test_from_npz_under_any_name_that_can_be_read(self, name):
        np.testing.assert_array_equal(read("x.npz", npz(**{name: X}))[name], X)

    @pytest.mark.parametrize(
        ("file", "name"),
        [("v.npy", "v"), ("C:\\my\\g.npy", "g"), ("a/b/hidden.npy", "k"), ("x.3.keys.npy", "x.3.keys")],
    )
    def test_one_array_is_called_as_its_file_or_k(self, file, name):
        assert list(read(file, npy(X))) == [name]

    def test_from_csv_of_one_gate_as_one_number_a_token(self):
        assert read("g.csv", b"-1\n-2\n")["g"].tolist() == [-1, -2]
        assert read("k.csv", b"-1\n-2\n")["k"].tolist() == [[-1], [-2]]


class TestWhatAFileHolds:
    """Everything that lies in a file is listed; what is no array of floats is left, and never refuses the file."""

    def test_members_that_are_not_used_are_named_and_left(self):
        x = np.ones((2, 3), np.float32)
        data = npz(k=x, ids=np.arange(9), mask=np.ones((2, 2), bool), names=np.array(["a", "b"]), **{"keys/0": X})
        held = files.contents("x.npz", data)
        assert set(held.arrays) == {"k", "keys/0"}
        np.testing.assert_array_equal(held.arrays["keys/0"], X)
        said = {member.name: (member.dtype, member.shape) for member in held.members if not member.left}
        assert said == {"k": ("float32", (2, 3)), "keys/0": ("float64", (5, 3))}
        assert str(held.members[0]) == "k: float32 [2, 3]"
        left = {member.name: member.left for member in held.members if member.left}
        assert set(left) == {"ids", "mask", "names"}
        assert left["ids"].endswith("got integers ('<i8')")
        sizes = {member.name: (member.dtype, member.shape) for member in held.members if member.left}
        assert sizes == {"ids": ("int64", (9,)), "mask": ("bool", (2, 2)), "names": ("text", (2,))}

    def test_of_objects_beside_arrays_only_the_header_is_looked_at(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        held = files.contents("x.npz", npz(k=X, o=np.array([Bomb()], dtype=object)))
        assert set(held.arrays) == {"k"}
        assert held.members[1].left.endswith("got pickled Python objects, which are never read")
        assert not list(tmp_path.iterdir())

    def test_arrays_that_are_left_are_not_unpacked(self):
        data = zipped({"k.npy": npy(X), "ids.npy": npy(np.zeros(2**25, np.int64)), "readme.txt": b"hello"})
        tracemalloc.start()
        assert set(read("x.npz", data)) == {"k"}
        assert tracemalloc.get_traced_memory()[1] < 2**20
        tracemalloc.stop()

    def test_safetensors_of_integers_beside_floats_are_left(self):
        held = files.contents("x.safetensors", save_safetensors({"layers.3.k": X, "ids": np.arange(3)}))
        assert set(held.arrays) == {"layers.3.k"}
        assert {str(member) for member in held.members} == {"layers.3.k: float64 [5, 3]", "ids: i64 [3]"}

    def test_columns_that_are_no_channels_are_left(self):
        data = b"\xef\xbb\xbf;token;key0;key1;alpha\n0;the;0,5;-1;0,9\n1;cat;1e-1;,25;1\n"
        held = files.contents("t.csv", data)
        assert {name: x.tolist() for name, x in held.arrays.items()} == {
            "key": [[0.5, -1], [0.1, 0.25]], "alpha": [0.9, 1]
        }  # fmt: skip
        assert [member.name for member in held.members if member.left] == ["a column without a name", "token"]

    def test_numbers_with_a_comma_are_read_without_names_of_columns(self):
        assert read("k.csv", b"0,5;1,25\n-2,0;3\n")["k"].tolist() == [[0.5, 1.25], [-2, 3]]

    def test_a_file_of_torch_is_refused_with_the_line_that_converts_it(self, tmp_path):
        file, lines = tmp_path / "dump.pt", []
        torch.save({"k": torch.eye(3)[:, :2]}, file)
        for ending in ("pt", "pth", "bin", "ckpt"):
            with pytest.raises(ValueError, match=r"never read here. This line converts it: python -c ") as error:
                read(f"dump.{ending}", file.read_bytes())
            line = str(error.value).split("converts it: ")[1]
            assert f"'dump.{ending}'" in line or f'"dump.{ending}"' in line
            lines.append(line.replace(f"dump.{ending}", file.name))
        assert len(set(lines)) == 1
        subprocess.run([sys.executable, *shlex.split(lines[0])[1:]], cwd=tmp_path, check=True)
        (k,) = read("dump.safetensors", (tmp_path / "dump.safetensors").read_bytes()).values()
        np.testing.assert_array_equal(k, np.eye(3)[:, :2])


class TestNarrowFloats:
    """Formats that NumPy has no type for, against PyTorch's own."""

    @pytest.mark.parametrize(
        ("dtype", "name"),
        [(torch.bfloat16, "bfloat16"), (torch.float8_e4m3fn, "float8_e4m3fn"), (torch.float8_e5m2, "float8_e5m2")],
    )
    @pytest.mark.parametrize("kind", ["descr", "name", "safetensors"])
    @pytest.mark.parametrize("fortran", [False, True])
    def test_every_pattern_of_bits_is_the_number_that_torch_has(self, dtype, name, kind, fortran):
        wide = dtype == torch.bfloat16
        bits = np.arange(2**16 if wide else 2**8, dtype=np.uint16 if wide else np.uint8).reshape(16, -1)
        want = torch.from_numpy(bits.view(np.int16) if wide else bits).view(dtype)
        if kind == "safetensors":
            got = read("x.safetensors", save_torch({"k": want}))["k"]
        else:
            descr = name if kind == "name" else {"float8_e5m2": "<f1"}.get(name, f"<V{bits.itemsize}")  # of ml_dtypes
            header = f"{{'descr': '{descr}', 'fortran_order': {fortran}, 'shape': {bits.shape}, }}"
            got = read("k.npy", raw_npy(header, bits.tobytes(order="F" if fortran else "C")))["k"]
        assert got.dtype == np.float32
        np.testing.assert_array_equal(got, want.float().numpy())

    def test_what_numpy_itself_writes_for_two_bytes_without_a_meaning_is_bfloat16(self):
        x = torch.randn(3, 4).to(torch.bfloat16)
        data = npz(k=x.view(torch.int16).numpy().view("V2"))
        held = files.contents("x.npz", data)
        np.testing.assert_array_equal(held.arrays["k"], x.float().numpy())
        assert str(held.members[0]) == "k: bfloat16 [3, 4]"


class TestFiles:
    """What is refused before its kind matters."""

    def test_another_ending_is_refused(self):
        refused("x.pkl", b"x", "'x.pkl': expected a file that ends in .npz, .npy, .csv, .safetensors")
        refused("npz", b"x", "'npz': expected a file that ends in .npz, .npy, .csv, .safetensors")

    @pytest.mark.parametrize("kind", files.KINDS)
    def test_an_empty_file_is_refused(self, kind):
        refused(f"x{kind}", b"", f"'x{kind}': expected a {kind} file, got an empty one")

    def test_a_file_of_200_mb_is_refused_before_it_is_read(self):
        data, table = bytes(200 * 2**20), bytes(5 * 2**20)
        tracemalloc.start()
        refused("x.npz", data, "'x.npz': expected at most 128 MB, got 200 MB")
        refused("x.csv", table, "'x.csv': expected at most 4 MB, got 5 MB")
        assert tracemalloc.get_traced_memory()[1] < 2**20
        tracemalloc.stop()

    def test_a_path_is_no_data(self):
        refused("x.npz", "x.npz", "data: expected bytes, got str", TypeError)

    @pytest.mark.parametrize("kind", [".npz", ".npy"])
    def test_a_pickle_under_another_name_is_never_read(self, kind):
        what = "a zip archive as numpy.savez" if kind == ".npz" else "an array as numpy.save"
        sentence = f"'x{kind}': expected {what} writes it, got a pickle, which is never read"
        refused(f"x{kind}", pickle.dumps({"k": X}), sentence)

    def test_a_long_name_is_cut(self):
        with pytest.raises(ValueError, match=r"^'x{36}\.\.\.: expected") as error:
            read("x" * 10_000 + ".npy", b"x")
        assert len(str(error.value)) < 150


FILES = {
    "x.npz": npz(np.savez_compressed, k=X, v=X),
    "x.npy": npy(X),
    "x.safetensors": save_safetensors({"k": X, "v": X}),
    "x.csv": b"k0,k1,v0\n1,2,3\n4,5,6\n",
}


@pytest.mark.filterwarnings("ignore:Duplicate name")
@settings(max_examples=300, deadline=None)
@given(st.sampled_from(list(FILES)), st.data())
def test_any_damage_gives_an_array_or_a_sentence(name, data):
    """Bytes changed, cut out or put in: an array, or an error of ours that begins with the file's name."""
    damaged = bytearray(FILES[name])
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(damaged)))
        what = data.draw(st.binary(max_size=4) | st.just(b"\xff\xff\xff\xff"))
        damaged[at : at + data.draw(st.integers(0, 8))] = what
    try:
        dtypes, sentence = {x.dtype.name for x in read(name, bytes(damaged)).values()}, ""
    except (TypeError, ValueError) as error:
        dtypes, sentence = set(), str(error)
    assert dtypes <= {"float16", "float32", "float64"}
    assert not sentence or (sentence.startswith(f"'{name}'") and ": expected " in sentence)
