"""Visitors who speak Streamlit's protocol: a browser each would take the cores that the server is measured on."""

from __future__ import annotations

import asyncio
import contextlib
import io
import time
import urllib.request
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from streamlit.proto.WidgetStates_pb2 import WidgetStates
from websockets.asyncio.client import connect

from app.choice import Choice
from tests.benchmarks.correct import TOLERANCE, error
from tests.benchmarks.result import Result
from tests.benchmarks.served import processor, resident, server
from tests.browser.server import Server

VISITORS, EVERY, SECONDS = 20, 2.0, 30.0
UPLOADERS = 50
LONG, FAR, WINDOWS = 100_000, 90_000, 8  # tokens of a stream, the first of a window, and how many windows are asked for


class Client:
    """A page of the app without a browser.

    Args:
        query: the link that it opens.
        page: of which page, "" for the lab.
    """

    def __init__(self, query: str, page: str = "") -> None:
        self.query, self.page = query, page
        self.errors: list[str] = []
        self.widgets: dict[str, str] = {}  # ids by label
        self.states = WidgetStates()
        self._channel: Any = None

    async def open(self, url: str, channels: contextlib.AsyncExitStack) -> None:
        """Connect with the server, until the channels are closed."""
        address = url.replace("http", "ws") + "/_stcore/stream"
        joined: Any = connect(address, subprotocols=["streamlit"], max_size=2**27)  # type: ignore[list-item]
        self._channel = await channels.enter_async_context(joined)

    async def run(self) -> tuple[bytes, float]:
        """Have the page run, and return the player's buffer, b"" for none, and the time at which it came."""
        rerun: Any = {"query_string": self.query, "widget_states": self.states, "page_name": self.page}
        await self._channel.send(BackMsg(rerun_script=rerun).SerializeToString())
        data, came = b"", 0.0
        async for message in self._messages():
            kind = message.WhichOneof("type")
            if kind == "page_info_changed":
                self.query = message.page_info_changed.query_string
            if kind != "delta" or message.delta.WhichOneof("type") != "new_element":
                continue
            element = message.delta.new_element
            name = element.WhichOneof("type")
            if name == "bidi_component":
                data, came = element.bidi_component.bytes, time.monotonic()
            elif name == "exception" or (name == "alert" and element.alert.format == element.alert.ERROR):
                self.errors.append(str(getattr(element, str(name)))[:300])
            elif name in ("number_input", "slider", "file_uploader"):
                self.widgets[getattr(element, name).label] = getattr(element, name).id
        return data, came

    async def _messages(self) -> AsyncIterator[ForwardMsg]:
        """Yield what the server says, up to the end of a run."""
        while True:
            message = ForwardMsg()
            message.ParseFromString(await asyncio.wait_for(self._channel.recv(), 300))
            yield message
            if message.WhichOneof("type") == "script_finished":
                return

    def change(self, label: str, value: float) -> None:
        """Change one control, as the next run is told."""
        del self.states.widgets[:]
        state = self.states.widgets.add(id=self.widgets[label])
        if isinstance(value, int):
            state.int_value = value
        else:
            state.double_array_value.data.append(value)

    async def give(self, url: str, data: bytes) -> None:
        """Give the page a file, as the next run is told."""
        wanted: Any = {"request_id": "1", "file_names": ["mine.npz"]}
        await self._channel.send(BackMsg(file_urls_request=wanted).SerializeToString())
        async for message in self._messages():
            if message.WhichOneof("type") == "file_urls_response":
                urls = message.file_urls_response.file_urls[0]
                break
        await asyncio.to_thread(put, url, urls.upload_url, data)
        state = self.states.widgets.add(id=self.widgets["Your arrays"]).file_uploader_state_value
        info = state.uploaded_file_info.add()
        info.file_id, info.name, info.size = urls.file_id, "mine.npz", len(data)
        info.file_urls.CopyFrom(urls)


def put(url: str, path: str, data: bytes) -> None:
    """Send a file to the server, as a page does."""
    with urllib.request.urlopen(f"{url}/_stcore/health") as answer:
        cookie = answer.headers["Set-Cookie"].split(";")[0]
    head = b'--part\r\nContent-Disposition: form-data; name="file"; filename="mine.npz"\r\n\r\n'
    headers = {
        "Content-Type": "multipart/form-data; boundary=part",
        "Cookie": cookie,
        "X-Xsrftoken": cookie.partition("=")[2],
    }
    body = head + data + b"\r\n--part--\r\n"
    with urllib.request.urlopen(urllib.request.Request(url + path, body, headers, method="PUT")):
        pass


def arrays(seed: int, tokens: int, heads: int) -> bytes:
    """Return keys and values of 64 channels as an .npz of float32; the keys are of length 1."""
    rng = np.random.default_rng(seed)
    k, v = (rng.standard_normal((1, tokens, heads, 64), np.float32) for _ in range(2))
    file = io.BytesIO()
    np.savez(file, allow_pickle=False, k=k / np.linalg.norm(k, axis=-1, keepdims=True), v=v)
    return file.getvalue()


@dataclass
class Shown:
    """What clients were shown, and how long they waited for it.

    Args:
        times: seconds.
        pictures: choices, each with the buffer that came for it.
        errors: what the page said was wrong.
    """

    times: list[float]
    pictures: list[tuple[Choice, bytes]]
    errors: list[str]

    def results(
        self, name: str, unit: float, median: float | None, p95: float | None, seen: str = ""
    ) -> Iterator[Result]:
        """Check every picture, and yield the times; what is wrong is a result of its own."""
        wrong = sum(not data or error(data, choice) > TOLERANCE for choice, data in self.pictures)
        said = f": {self.errors[0]}" if self.errors else ""
        note = f"{wrong} of {len(self.pictures)} pictures wrong, {len(self.errors)} errors{said} {seen}"
        yield Result(name, "ms" if unit == 1e3 else "s", [unit * t for t in self.times], median, p95, note)
        if wrong or self.errors:
            yield Result("wrong pictures and errors", "", [float(wrong + len(self.errors))], 0, 0)


def firsts(repeats: int) -> Iterator[Result]:
    """Measure twenty first pictures, asked for at once of a server that has had a visitor, each of other numbers."""
    del repeats

    async def one(url: str, seed: int, channels: contextlib.AsyncExitStack, shown: Shown) -> None:
        client, began = Client(f"seed={seed}"), time.monotonic()
        await client.open(url, channels)
        data, came = await client.run()
        shown.times.append(came - began)
        shown.pictures.append((Choice(settings=replace(Choice().settings, seed=seed)), data))
        shown.errors += client.errors

    async def together(url: str, seeds: range) -> Shown:
        shown = Shown([], [], [])
        async with contextlib.AsyncExitStack() as channels:
            await asyncio.gather(*(one(url, seed, channels, shown) for seed in seeds))
        return shown

    with server() as app:
        asyncio.run(together(app.url, range(1)))
        time.sleep(5)  # until all its processes have started
        used = processor(app.process, *app.children())
        shown = asyncio.run(together(app.url, range(1, VISITORS + 1)))
        used = processor(app.process, *app.children()) - used
    note = f"in {used:.1f} s of a core in the server and its workers"
    yield from shown.results(f"{VISITORS} first pictures at once", 1, 4, None, note)


def visitors(repeats: int) -> Iterator[Result]:
    """Measure twenty people at once, each changing something every two seconds, and check all that they are shown."""
    del repeats

    async def one(url: str, number: int, begin: float, channels: contextlib.AsyncExitStack, shown: Shown) -> None:
        choice = Choice(settings=replace(Choice().settings, dk=32, dv=32, T=64, seed=1000 * (number + 1)))
        client = Client(f"dk=32&dv=32&T=64&seed={choice.settings.seed}")
        await client.open(url, channels)
        shown.pictures.append((choice, (await client.run())[0]))
        for turn in range(int(SECONDS / EVERY)):
            due = begin + EVERY * (turn + number / VISITORS)
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            choice, label, value = changed(choice, number, turn)
            client.change(label, value)
            data, came = await client.run()
            shown.times.append(came - due)  # a late start is a wait as well
            shown.pictures.append((choice, data))
        shown.errors += client.errors

    async def together(url: str) -> Shown:
        shown = Shown([], [], [])
        begin = time.monotonic() + 8.0  # after all have opened the page
        async with contextlib.AsyncExitStack() as channels:
            await asyncio.gather(*(one(url, number, begin, channels, shown) for number in range(VISITORS)))
        return shown

    with server() as app:
        shown = asyncio.run(together(app.url))
    yield from shown.results(f"{VISITORS} people, a change every {EVERY:g} s each", 1e3, None, 1000)


def changed(choice: Choice, number: int, turn: int) -> tuple[Choice, str, float]:
    """Return the next choice of a visitor, and the control that makes it with its value."""
    settings = choice.settings
    if turn % 3 == 0:
        return replace(choice, settings=replace(settings, seed=settings.seed + 1)), "Seed", settings.seed + 1
    value = round(0.5 + 0.005 * ((7 * turn + 11 * number) % 90), 3)
    if turn % 3 == 1:
        return replace(choice, settings=replace(settings, alpha=value)), "Decay α", value
    return replace(choice, settings=replace(settings, beta=value)), "Erase gate β", value


def window(repeats: int) -> Iterator[Result]:
    """Measure windows far into a stream, whose memory before them comes of all tokens before."""
    del repeats

    async def windows(app: Server) -> tuple[list[float], float, list[str]]:
        url, times = app.url, []
        async with contextlib.AsyncExitStack() as channels:
            client = Client("from=arrays&rules=gated-deltanet")
            await client.open(url, channels)
            await client.run()
            await client.give(url, arrays(0, LONG, 1))
            await client.run()
            used = processor(app.process, *app.children())
            for n in range(WINDOWS):
                client.change("First token", FAR + 300 * n)
                began = time.monotonic()
                data, came = await client.run()
                if not data:
                    client.errors.append("no picture")
                times.append(came - began)
            used = (processor(app.process, *app.children()) - used) / WINDOWS
        return times, used, client.errors

    with server() as app:
        times, used, errors = asyncio.run(windows(app))
    note = f"Gated DeltaNet, one head of 64 x 64; {len(errors)} errors{': ' + errors[0] if errors else ''}; "
    note += f"{used:.2f} s of a core each in the server and its workers"
    yield Result(f"a window at token {FAR:,} of {LONG:,}", "s", times, 1, None, note)


def uploads(repeats: int) -> Iterator[Result]:
    """Measure what the server keeps after fifty people have each given it a file of 10 MB, all still there."""
    del repeats

    async def together(url: str, process: int) -> tuple[float, int, list[str]]:
        shown, errors = 0, []
        async with contextlib.AsyncExitStack() as channels:
            for number in range(UPLOADERS):  # one after the other: what is left counts, and not what is under way
                client = Client("from=arrays")
                await client.open(url, channels)
                await client.run()
                await client.give(url, await asyncio.to_thread(arrays, number, 5000, 4))
                shown += bool((await client.run())[0])
                errors += client.errors
            await asyncio.sleep(2)
            return resident(process), shown, errors

    with server() as app:
        before = resident(app.process)
        after, shown, errors = asyncio.run(together(app.url, app.process))
    note = f"{before:.0f} MB before; {shown} pictures, {len(errors)} errors{': ' + errors[0] if errors else ''}"
    yield Result(f"the server after {UPLOADERS} uploads of 10 MB", "MB", [after], 900, None, note)
    if errors or shown < UPLOADERS:
        yield Result("uploads without a picture, and errors", "", [float(UPLOADERS - shown + len(errors))], 0, 0)
