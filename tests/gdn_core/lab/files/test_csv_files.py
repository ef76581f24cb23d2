"""Tables that are refused: lines and columns that cannot be read."""


import pytest

from gdn_core.lab.files import read
from tests.gdn_core.lab.files.made import refused


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
