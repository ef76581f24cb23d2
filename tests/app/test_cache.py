"""The cache: concurrent requests share one computation, and its size is bounded."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from app.cache import Once


class Key:
    """A key that counts its look-ups: each who asks looks for a kept value, then for a running computation."""

    def __init__(self) -> None:
        self.looks = threading.Semaphore(0)

    def __hash__(self) -> int:
        self.looks.release()
        return 0

    def wait_for(self, people: int) -> None:
        """Wait until so many have asked, of whom one has noted that it computes."""
        assert all(self.looks.acquire(timeout=60) for _ in range(2 * people + 1))


def test_many_who_ask_for_the_same_at_once_wait_for_one_computation() -> None:
    once, made, key = Once(1000), [], Key()

    def make() -> bytes:
        key.wait_for(12)
        made.append(1)
        return b"value"

    with ThreadPoolExecutor(12) as pool:
        answers = [future.result() for future in [pool.submit(once.get, key, make) for _ in range(12)]]
    assert answers == [b"value"] * 12
    assert len(made) == 1


def test_a_failure_reaches_all_who_wait_and_is_not_kept() -> None:
    once, key = Once(1000), Key()

    def fail() -> bytes:
        key.wait_for(4)
        raise ValueError("no")

    def ask() -> str:
        with pytest.raises(ValueError, match="no") as error:
            once.get(key, fail)
        return str(error.value)

    with ThreadPoolExecutor(4) as pool:
        assert [f.result() for f in [pool.submit(ask) for _ in range(4)]] == ["no"] * 4
    assert once.get(key, lambda: b"now") == b"now"


def test_the_cache_stays_within_its_bytes_and_drops_what_was_longest_unused() -> None:
    once = Once(100)
    for key in "abc":
        once.get(key, lambda: b"x" * 40)
    assert once.bytes == 80
    made: list[str] = []
    once.get("b", lambda: made.append("b") or b"")
    once.get("a", lambda: made.append("a") or b"x" * 40)
    assert made == ["a"]
    once.get("b", lambda: made.append("b") or b"")
    assert made == ["a"]


def test_a_value_larger_than_the_cache_is_given_all_the_same() -> None:
    once = Once(10)
    assert once.get("large", lambda: b"x" * 1000) == b"x" * 1000
    once.get("next", lambda: b"y")
    assert once.bytes == 1
