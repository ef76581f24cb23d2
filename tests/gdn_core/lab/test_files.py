"""Files to arrays: what NumPy and safetensors write comes back to the bit, and everything else is one sentence."""

import io
import json
import pickle
import re
import shlex
import struct
import subprocess
import sys
import tracemalloc
import zipfile
from pathlib import Path

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
from gdn_core.lab.limits import LIMITS

X = np.arange(15.0).reshape(5, 3) - 7
FLOATS = st.sampled_from(["<f2", "<f4", "<f8", ">f2", ">f4", ">f8"])
ANY = FLOATS.flatmap(lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5)))


def npy(x, **options) -> bytes:
    stream = io.BytesIO()
    np.save(stream, x, **options)
    return stream.getvalue()


def npz(save=np.savez, **named) -> bytes:
    stream = io.BytesIO()
    save(stream, **named)
    return stream.getvalue()


def zipped(members: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return stream.getvalue()


def raw_npy(header: str, payload: bytes = b"", *, version: int = 1) -> bytes:
    length = struct.pack("<H" if version == 1 else "<I", len(header))
    return b"\x93NUMPY" + bytes([version, 0]) + length + header.encode() + payload


def raw_safetensors(header, payload: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + payload


def member(dtype="F32", shape=(2,), offsets=(0, 8)):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


def refused(name: str, data, sentence: str, kind: type[Exception] = ValueError) -> None:
    with pytest.raises(kind, match=f"^{re.escape(sentence)}$"):
        read(name, data)


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
        held = files.contents("x.npz", npz(k=X, o=np.array([TestNpy.Bomb()], dtype=object)))
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
            descr = name if kind == "name" else f"<V{bits.itemsize}"  # as np.save writes a type of ml_dtypes
            if kind == "descr" and name == "float8_e5m2":
                pytest.skip("one byte without a name is E4M3")
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


class TestNpy:
    """One array of NumPy, its header, and pickles that pose as one."""

    class Bomb:
        def __reduce__(self):
            return Path.touch, (Path("pickle-was-run"),)

    def test_an_array_of_objects_is_never_unpickled(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        objects = np.array([self.Bomb()], dtype=object)
        what = "expected floating-point numbers, got pickled Python objects, which are never read"
        refused("k.npy", npy(objects, allow_pickle=True), f"'k.npy': {what}", TypeError)
        refused("x.npz", npz(k=objects), f"'x.npz', 'k.npy': {what}", TypeError)
        records = np.array([(1.0, self.Bomb())], dtype=[("a", "f8"), ("b", "O")])
        refused("k.npy", npy(records, allow_pickle=True), f"'k.npy': {what}", TypeError)
        assert not list(tmp_path.iterdir())

    @pytest.mark.parametrize(
        ("x", "got"),
        [
            (np.arange(3), "integers ('<i8')"),
            (np.zeros(3, np.uint8), "integers ('|u1')"),
            (np.zeros(3, bool), "booleans ('|b1')"),
            (np.zeros(3, complex), "complex numbers ('<c16')"),
            (np.array(["1", "2"]), "text ('<U1')"),
            (np.zeros(3, "M8[s]"), "something else ('<M8[s]')"),
            (np.zeros(3, np.longdouble), f"something else ('{np.dtype(np.longdouble).str}')"),
        ],
    )
    def test_what_holds_no_plain_floats_is_refused(self, x, got):
        refused(
            "k.npy",
            npy(x),
            f"'k.npy': expected float16, float32 or float64, as .astype('float32') gives, got {got}",
            TypeError,
        )

    def test_records_are_refused(self):
        sentence = "'k.npy': expected one plain array of floating-point numbers, got an array of records"
        refused("k.npy", npy(np.zeros(3, [("a", "f8")])), sentence, TypeError)

    def test_too_few_or_too_many_bytes_are_counted(self):
        said = "'k.npy': expected 120 bytes for shape [5, 3] of float64, got"
        refused("k.npy", npy(X)[:-1], f"{said} 119: the file is truncated")
        refused("k.npy", npy(X)[:-120], f"{said} 0: the file is truncated")
        refused("k.npy", npy(X) + b"xy", f"{said} 122: the file is damaged")

    @pytest.mark.parametrize("cut", [1, 6, 9, 11])
    def test_a_file_cut_in_its_first_bytes_is_refused(self, cut):
        sentence = "'k.npy': expected an array as numpy.save writes it, got something else or a part of one"
        refused("k.npy", npy(X)[:cut], sentence)

    @pytest.mark.parametrize(
        ("shape", "sentence"),
        [
            ("(-1, 3)", "expected a shape of at most 8 axes, got [-1, 3]"),
            ("(99999999999, 3)", "expected at most 160 MB of numbers, got a shape [99999999999, 3]"),
            ("(99999999, 0)", "expected 0 bytes for shape [99999999, 0] of float64, got 120: the file is damaged"),
            (f"({'9' * 30},)", f"expected a shape of at most 8 axes, got [{'9' * 30}]"),
            ("(1,1,1,1,1,1,1,1,15)", "expected a shape of at most 8 axes, got [1, 1, 1, 1, 1, 1, 1, 1, 15]"),
            ("(5, 3.0)", "expected an array as numpy.save writes it, got something else or a part of one"),
        ],
    )
    def test_an_absurd_shape_is_refused_before_anything_is_allocated(self, shape, sentence):
        header = f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}, }}"
        refused("k.npy", raw_npy(header, X.tobytes()), f"'k.npy': {sentence}")

    @pytest.mark.parametrize(
        "data",
        [
            raw_npy("{'descr': '<f8', 'fortran_order': False, 'shape': (__import__('os').mkdir('it-was-run'),), }"),
            raw_npy("(" * 4000),
            raw_npy("{" * 300),
            raw_npy("{'descr': '<f8', 'shape': (5, 3), }"),
            raw_npy("{'descr': 3, 'fortran_order': False, 'shape': (5, 3), }"),
            raw_npy(" " * 5000 + "{'descr': '<f8', 'fortran_order': False, 'shape': (0,), }"),
            raw_npy("", version=2)[:8] + b"\xff\xff\xff\xff",
            raw_npy("{'descr': '<f8', 'fortran_order': False, 'shape': (0,), }", version=3),
            raw_npy("{'descr': '<f8', 'fortran_order': False, 'shape': (0,), }", version=9),
        ],
    )
    def test_a_header_that_is_none_is_refused_and_nothing_of_it_is_run(self, data, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        sentence = "'k.npy': expected an array as numpy.save writes it, got something else or a part of one"
        refused("k.npy", data, sentence)
        assert not list(tmp_path.iterdir())


class TestNpz:
    """Archives: their members, their promises, and bombs."""

    @pytest.mark.parametrize(
        "name",
        ["/etc/k.npy", "../k.npy", "a/../k.npy", "a\\k.npy", "k.npz", "k", ".npy", "k\n.npy", "k" * 200 + ".npy"],
    )
    def test_a_member_that_is_no_array_of_the_archive_is_refused(self, name):
        with pytest.raises(ValueError, match=r"expected an array such as k\.npy, got another name$"):
            read("x.npz", zipped({name: npy(X)}))

    def test_two_members_of_one_name_are_refused(self):
        data = zipped({"k.npy": npy(X), "v.npy": npy(-X)}).replace(b"v.npy", b"k.npy")
        refused("x.npz", data, "'x.npz', 'k.npy': expected each array once, got 2 of this name")

    def test_an_archive_without_arrays_is_refused(self):
        refused("x.npz", zipped({}), "'x.npz': expected at least one array, got none")

    def test_more_arrays_than_allowed_are_refused(self):
        data = npz(**{f"a{i}": X for i in range(LIMITS.arrays + 1)})
        refused("x.npz", data, "'x.npz': expected at most 512 arrays, got more")
        assert len(read("x.npz", npz(**{f"a{i}": X for i in range(LIMITS.arrays)}))) == LIMITS.arrays

    def test_another_compression_or_a_password_is_refused(self):
        stream = io.BytesIO()
        with zipfile.ZipFile(stream, "w", zipfile.ZIP_BZIP2) as archive:
            archive.writestr("k.npy", npy(X))
        refused(
            "x.npz", stream.getvalue(), "'x.npz', 'k.npy': expected an array stored or deflated, got compression 12"
        )
        data = bytearray(npz(k=X))
        data[data.index(b"PK\x01\x02") + 8] |= 1
        refused("x.npz", bytes(data), "'x.npz', 'k.npy': expected no password, got an encrypted array")

    @pytest.mark.parametrize("keep", [1, 50, 200, -1, -30])
    def test_a_truncated_archive_is_refused(self, keep):
        sentence = "'x.npz': expected a zip archive as numpy.savez writes it, got a truncated or damaged one"
        refused("x.npz", npz(k=X)[:keep], sentence)

    def test_a_changed_byte_is_noticed(self):
        data = bytearray(npz(k=X))
        data[data.index(X.tobytes()) + 5] ^= 1
        sentence = "'x.npz': expected a zip archive as numpy.savez writes it, got a truncated or damaged one"
        refused("x.npz", bytes(data), sentence)

    def test_a_zip_bomb_is_refused_by_what_it_promises(self):
        data = zipped({"k.npy": npy(np.zeros(2**25))})
        assert len(data) < 400_000
        tracemalloc.start()
        refused("x.npz", data, "'x.npz': expected at most 160 MB when unpacked, got 256 MB")
        assert tracemalloc.get_traced_memory()[1] < 2**20
        tracemalloc.stop()

    def test_a_zip_bomb_that_promises_little_is_not_unpacked_further(self):
        data = bytearray(zipped({"k.npy": npy(np.zeros(2**24))}))
        for signature, offset in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
            at = data.index(signature) + offset
            data[at : at + 4] = struct.pack("<I", 248)
        tracemalloc.start()
        with pytest.raises(ValueError, match=r"^'x.npz': expected a zip archive .* truncated or damaged one$"):
            read("x.npz", bytes(data))
        assert tracemalloc.get_traced_memory()[1] < 2**20
        tracemalloc.stop()


class TestSafetensors:
    """Damage, and dtypes that are no floats."""

    @pytest.mark.parametrize(
        "data",
        [
            b"abc",
            struct.pack("<Q", 2**63) + b"{}",
            raw_safetensors({"k": member()}, bytes(7)),
            raw_safetensors({"k": member(shape=(-2,))}, bytes(8)),
            raw_safetensors({"k": member(shape=(2**62, 2**62))}, bytes(8)),
            raw_safetensors({"k": member(shape=(3,))}, bytes(8)),
            raw_safetensors({"k": member(dtype="NO")}, bytes(8)),
            raw_safetensors(b'{"k": {}'),
            raw_safetensors(b"[" * 1000),
            raw_safetensors(
                b'{"k":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},'
                b'"k":{"dtype":"F32","shape":[2],"data_offsets":[8,16]}}',
                bytes(16),
            ),
        ],
    )
    def test_a_damaged_file_is_refused(self, data):
        with pytest.raises(
            ValueError, match=r"^'x.safetensors': expected a safetensors file, got a truncated or damaged"
        ):
            read("x.safetensors", data)

    def test_other_numbers_than_floats_are_refused(self):
        refused("x.safetensors", save_safetensors({"k": np.arange(3)}),
                "'x.safetensors', 'k': expected F16, BF16, F32 or F64, got 'I64'", TypeError)  # fmt: skip

    def test_long_directories_and_many_arrays_are_refused(self):
        data = raw_safetensors(b"{" + b" " * 2**21 + b"}")
        refused("x.safetensors", data, "'x.safetensors': expected a header of at most 1 MB, got 2 MB")
        data = save_safetensors({f"a{i}": X for i in range(LIMITS.arrays + 1)})
        refused("x.safetensors", data, "'x.safetensors': expected at most 512 arrays, got 513")
        refused("x.safetensors", save_safetensors({}), "'x.safetensors': expected at least one array, got none")


class TestCsv:
    """Lines and columns that cannot be read."""

    @pytest.mark.parametrize(
        ("data", "sentence"),
        [
            (b"k0,k1\n1,2\n3\n", ", line 3: expected 2 cells, as before, got 1"),
            (b"k0,k1\n1,2\n\n3,4,5\n", ", line 4: expected 2 cells, as before, got 3"),
            (b"1,2\n3,4\n5\n", ", line 3: expected 2 cells, as before, got 1"),
            (b"k0,v0\n1,two\n", ", line 2, column v0: expected a finite number, got 'two'"),
            (b"k0,g\n1,\n", ", line 2, column g: expected a finite number, got ''"),
            (b"k0,v0\n1,nan\n", ", line 2, column v0: expected a finite number, got 'nan'"),
            (b"k0,v0\n1,1\n1,-inf\n", ", line 3, column v0: expected a finite number, got '-inf'"),
            (b"k0,v0\n1,1_0\n", ", line 2, column v0: expected a finite number, got '1_0'"),
            (b"k0;v0\n1;0,5,1\n", ", line 2, column v0: expected a finite number, got '0,5,1'"),
            (b"key,value\na,b\n", ", line 1: expected columns such as k0, k1, v0, g, beta, w or delta, got 'key'"),
            (b"k,v\n1,2\n", ", line 1: expected columns such as k0, k1, v0, g, beta, w or delta, got 'k'"),
            (b"k0,k2\n1,2\n", ", line 1: expected k0 to k1, each once, got 'k0, k2'"),
            (b"v1,v1\n1,2\n", ", line 1: expected v0 to v1, each once, got 'v1, v1'"),
            (b"k0,g,g0\n1,2,3\n", ", line 1: expected g once or with channels, g0 and so on, got both"),
            (b"k0,g,g\n1,2,3\n", ", line 1: expected g once or with channels, g0 and so on, got both"),
            (b"k0,v0\n", ": expected a line for each token after the names of the columns, got none"),
            (b" \n\n", ": expected a line for each token, got no line with anything in it"),
            (b'k0,"v0\n1,2\n', ", line 2: expected cells of numbers, got a damaged one (unexpected end of data)"),
            ("k0\n1".encode("utf-16"), ": expected UTF-8 text, got UTF-16: save it as 'CSV UTF-8'"),
            (b"k0\n\xff\n", ": expected UTF-8 text, got byte 0xff at 3"),
        ],
    )
    def test_what_cannot_be_read_is_said_with_its_line(self, data, sentence):
        refused("t.csv", data, f"'t.csv'{sentence}")

    def test_too_many_lines_or_columns_are_refused(self):
        refused("t.csv", b"1\n" * 100_001, "'t.csv': expected at most 100,000 lines, got 100,001")
        refused("t.csv", b"1," * 4096 + b"1", "'t.csv': expected at most 4,096 columns, got 4,097")

    def test_a_cell_without_end_is_refused(self):
        with pytest.raises(ValueError, match=r"^'t.csv', line 2: expected cells of numbers, got a damaged one"):
            read("t.csv", b"k0\n" + b"1" * 200_000)


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
