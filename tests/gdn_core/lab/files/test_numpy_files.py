"""Files of NumPy that are refused: headers, shapes and pickles, and archives with their promises."""

import io
import struct
import tracemalloc
import zipfile

import numpy as np
import pytest

from gdn_core.lab.files import read
from gdn_core.lab.limits import LIMITS
from tests.gdn_core.lab.files.made import Bomb, X, npy, npz, raw_npy, refused, zipped


class TestNpy:
    """One array of NumPy, its header, and pickles that pose as one."""

    def test_an_array_of_objects_is_never_unpickled(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        objects = np.array([Bomb()], dtype=object)
        what = "expected floating-point numbers, got pickled Python objects, which are never read"
        refused("k.npy", npy(objects, allow_pickle=True), f"'k.npy': {what}", TypeError)
        refused("x.npz", npz(k=objects), f"'x.npz', 'k.npy': {what}", TypeError)
        records = np.array([(1.0, Bomb())], dtype=[("a", "f8"), ("b", "O")])
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
