"""A cache of results, shared by all visitors and bounded in bytes.

Streamlit's caches are bounded by the number of entries, and a picture takes from 0.01 to 58 MB: see DECISIONS.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from concurrent.futures import Future
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np

MOST_PARTS = 4  # longest list or tuple searched for arrays, one for each rule; longer ones hold words


class Once:
    """A bounded cache in which concurrent requests for one key share one computation.

    Args:
        most_bytes: the bound on the bytes of the kept values; the least recently used are dropped first.
    """

    def __init__(self, most_bytes: int) -> None:
        self._most = most_bytes
        self._lock = threading.Lock()
        self._kept: OrderedDict[Hashable, tuple[Any, int]] = OrderedDict()
        self._running: dict[Hashable, Future[Any]] = {}
        self._bytes = 0

    def __len__(self) -> int:
        """Count the values kept."""
        return len(self._kept)

    @property
    def bytes(self) -> int:
        """The bytes that the kept values take."""
        return self._bytes

    def get(self, key: Hashable, make: Callable[[], Any]) -> Any:
        """Return the value of a key, made by ``make`` if it is not kept; an exception reaches all waiting callers."""
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key][0]
            waiting = self._running.get(key)
            if waiting is None:
                mine: Future[Any] = Future()
                self._running[key] = mine
        if waiting is not None:
            return waiting.result()
        try:
            value = make()
        except BaseException as error:
            with self._lock:
                del self._running[key]
            mine.set_exception(error)
            raise
        leaves = list(_leaves(value))
        for leaf in leaves:
            if isinstance(leaf, np.ndarray):
                leaf.flags.writeable = False  # other visitors see the same array
        size = sum(leaf.nbytes if isinstance(leaf, np.ndarray) else len(leaf) for leaf in leaves)
        with self._lock:
            del self._running[key]
            self._kept[key] = (value, size)
            self._bytes += size
            while self._bytes > self._most and len(self._kept) > 1:
                _, (_, freed) = self._kept.popitem(last=False)
                self._bytes -= freed
        mine.set_result(value)
        return value


def _leaves(value: Any) -> Iterator[np.ndarray | bytes | str]:
    """Yield the arrays, buffers and texts in a value, which make up its size."""
    if isinstance(value, np.ndarray | bytes | str):
        yield value
    elif is_dataclass(value):
        for f in fields(value):
            yield from _leaves(getattr(value, f.name))
    elif isinstance(value, list | tuple) and len(value) <= MOST_PARTS:
        for part in value:
            yield from _leaves(part)
    elif isinstance(value, dict):
        for part in value.values():
            yield from _leaves(part)
