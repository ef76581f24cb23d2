"""Pictures of 8 x 8 that stand for values, so that an answer can be seen: an alphabet drawn for this project.

A memory is linear in its values. Under the same keys and gates, pictures as values would therefore come out of it in
the shares in which the values do (:mod:`gdn_core.lab.answers`): two values in one answer are two pictures on top of
each other, and a value that has faded is a faint picture.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

SIDE = 8  # pixels
INK = "#"


class Glyph(NamedTuple):
    """A picture and what it shows.

    Args:
        thing: what it shows, in a word or two.
        rows: SIDE rows of SIDE characters from the top, INK where the picture is.
    """

    thing: str
    rows: tuple[str, ...]

    @property
    def pixels(self) -> np.ndarray:
        """The picture as numbers, [SIDE, SIDE] float64: 1 where it has ink, and 0 elsewhere."""
        return np.array([[float(pixel == INK) for pixel in row] for row in self.rows])

    @property
    def bits(self) -> str:
        """The picture as SIDE * SIDE bits, row by row, in hexadecimal digits."""
        return "".join(f"{int(row.replace(INK, '1').replace('.', '0'), 2):02x}" for row in self.rows)


_DRAWN = """
heart     sun       house     fish      bell      fork      spoon     cup
.##.##..  #..##..#  ...##...  ........  ...##...  .#.#.#..  ..###...  ........
#######.  .#.##.#.  ..####..  ..###..#  ..####..  .#.#.#..  .#####..  ######..
#######.  ..####..  .######.  .#####.#  ..####..  .#.#.#..  .#####..  ########
#######.  ########  ########  #.######  .######.  .#####..  .#####..  ######.#
.#####..  ########  .#....#.  ########  .######.  ...#....  ..###...  ######.#
..###...  ..####..  .#.##.#.  .#####.#  ########  ...#....  ...#....  ########
...#....  .#.##.#.  .#.##.#.  ..###..#  ........  ...#....  ...#....  .####...
........  #..##..#  .#.##.#.  ........  ...##...  ...#....  ...#....  ........

moon      star      boat      flower    crown     cloud     bolt      mountain
..####..  ...##...  ...#....  .##.##..  ........  ........  ....###.  ........
.####...  ...##...  ...##...  .##.##..  #..##..#  ..###...  ...###..  ...#....
###.....  ########  ...###..  ...#....  #..##..#  .#####..  ..###...  ..###...
###.....  .######.  ...####.  .##.##..  ##.##.##  .######.  .######.  ..###.#.
###.....  ..####..  ...#....  .##.##..  ########  ########  ....##..  .#######
####...#  .######.  ########  ...#..#.  ########  ########  ...##...  .#######
.######.  .##..##.  .######.  ...#.#..  ........  .######.  ..##....  ########
..####..  ##....##  ..####..  ...##...  ########  ........  .##.....  ########

apple     anchor    arrow     clock     umbrella  mushroom  cat       ring
....##..  ...##...  ...##...  ..####..  ...#....  ..####..  #......#  ...##...
...#....  ..#..#..  ..####..  .#....#.  .#####..  .######.  ##....##  ..#..#..
.##.##..  ...##...  .######.  #...#..#  #######.  ##.##.##  ########  ...##...
#######.  .######.  ##.##.##  #...#..#  #######.  ########  #.####.#  ..####..
#######.  ...##...  ...##...  #...##.#  ...#....  ...##...  ########  .#....#.
#######.  #..##..#  ...##...  #......#  ...#....  ...##...  ###..###  .#....#.
.#####..  ##.##.##  ...##...  .#....#.  .#.#....  ..####..  .######.  .#....#.
..#.#...  ..####..  ...##...  ..####..  ..##....  ..####..  ..####..  ..####..

diamond   note      flag      letter    ladder    cross     wave      hourglass
........  ..######  ##......  ........  .#....#.  ...##...  ........  ########
.######.  ..#....#  ######..  ########  .######.  ...##...  .##..##.  .#....#.
##.##.##  ..#....#  ########  ##....##  .#....#.  ...##...  #..##..#  ..####..
########  ..#....#  ######..  #.#..#.#  .######.  ########  ........  ...##...
.######.  ..#....#  ##......  #..##..#  .#....#.  ########  ........  ...##...
..####..  .##...##  ##......  #......#  .######.  ...##...  .##..##.  ..#..#..
...##...  ###..###  ##......  ########  .#....#.  ...##...  #..##..#  .######.
........  ##...##.  ##......  ........  .#....#.  ...##...  ........  ########

lock      book      car       eye       bottle    drop      butterfly  robot
..####..  ........  ..####..  ........  ...##...  ...#....  ##....##  ...##...
.#....#.  ###..###  .#..#.#.  ..####..  ...##...  ...#....  ###..###  .######.
.#....#.  #..##..#  #...#..#  .##..##.  ...##...  ..###...  #.#..#.#  .#.##.#.
########  #..##..#  ########  ##.##.##  ..####..  ..###...  .#.##.#.  .######.
###..###  #..##..#  ########  ##.##.##  .#....#.  .#####..  ..####..  ...##...
###..###  #..##..#  ########  .##..##.  .######.  .#####..  #.#..#.#  #.####.#
########  ###..###  .##..##.  ..####..  .######.  .#####..  ###..###  #..##..#
########  ...##...  .##..##.  ........  .######.  ..###...  .#....#.  .##..##.
"""


def _read(drawn: str) -> tuple[Glyph, ...]:
    """Cut a sheet of drawings into glyphs: bands of them, each under its names."""
    glyphs = []
    for band in drawn.strip().split("\n\n"):
        names, *rows = (line.split() for line in band.splitlines())
        glyphs += [Glyph(name, tuple(column)) for name, *column in zip(names, *rows, strict=True)]
    return tuple(glyphs)


#: The glyphs, in the order in which they are given out.
GLYPHS = _read(_DRAWN)


def glyph(n: int) -> Glyph:
    """Return the glyph of the n-th value, n >= 0; no two of the first 1,600 are alike.

    Behind the alphabet, the upper half of one glyph stands over the lower half of another.
    """
    many = len(GLYPHS)
    if n < many:
        return GLYPHS[n]
    upper, lower = GLYPHS[n % many], GLYPHS[(n + n // many) % many]
    return Glyph(f"{upper.thing} over {lower.thing}", upper.rows[: SIDE // 2] + lower.rows[SIDE // 2 :])
