"""What the server starts beside the pages: the processes that run the kernels."""

from __future__ import annotations

import gc
from functools import cache

from gdn_core.lab.worker.pool import pool


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
