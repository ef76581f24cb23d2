"""Start the worker processes of the kernels with the server."""

from __future__ import annotations

import gc
from functools import cache

from gdn_core.lab.worker.pool import pool


def start() -> None:
    """Start one worker process, without waiting for it."""
    pool().warm(1)


@cache
def settle() -> None:
    """Start the other worker processes, and freeze the imported objects for the garbage collector.

    Streamlit collects garbage after every run of a page, which visits every object that is not frozen.
    """
    pool().warm()
    gc.collect()
    gc.freeze()
