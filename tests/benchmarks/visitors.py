"""Visitors of the page without a browser: they speak Streamlit's protocol as its own page in the browser does.

A visitor opens the websocket, asks for the script with the query of an address, keeps the state of every widget and
sends it with each request, keeps the timers that the page sets (`run_every`) by itself, and presses buttons. One
process with one event loop is hundreds of them: they read what is sent, and draw nothing.
"""

from __future__ import annotations

import asyncio
import base64
import os
import struct
import time
from collections.abc import Callable
from typing import Any

import pyarrow
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from streamlit.proto.NumberInput_pb2 import NumberInput
from streamlit.proto.Slider_pb2 import Slider
from streamlit.proto.WidgetStates_pb2 import WidgetState

# The browser forgets a message that has not been used for so many runs of the script.
KEPT_RUNS = 2
# Alerts of this kind are errors.
ERROR = 1
BINARY, CLOSE, PING, PONG = 2, 8, 9, 10


class Wire(asyncio.Protocol):
    """One websocket, as plain as it can be: binary messages come whole, pings are answered.

    Args:
        hear: is told each message and when it came.
        lost: is told why the connection ended.
    """

    def __init__(self, host: str, hear: Callable[[bytes, float], None], lost: Callable[[str], None]):
        self._host, self._hear, self._lost = host, hear, lost
        self._buffer, self._parts, self.opened = bytearray(), [], asyncio.get_running_loop().create_future()
        self.received = 0

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        key = base64.b64encode(os.urandom(16)).decode()
        transport.write((f"GET /_stcore/stream HTTP/1.1\r\nHost: {self._host}\r\nOrigin: http://{self._host}\r\n"
                         f"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: {key}\r\n"
                         "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: streamlit, PLACEHOLDER_AUTH_TOKEN\r\n"
                         "\r\n").encode())

    def data_received(self, data: bytes) -> None:
        at = time.time()
        self.received += len(data)
        self._buffer += data
        if not self.opened.done():
            head, ended, rest = bytes(self._buffer).partition(b"\r\n\r\n")
            if not ended:
                return
            if b" 101 " not in head.split(b"\r\n")[0]:
                self.opened.set_exception(ConnectionError(head.decode(errors="replace")))
                return
            self.opened.set_result(None)
            self._buffer = bytearray(rest)
        begin = 0
        while (found := self._frame(begin)) is not None:
            kind, is_last, body, begin = found
            if kind in (0, BINARY):
                self._parts.append(body)
                if is_last:
                    whole, self._parts = b"".join(self._parts), []
                    self._hear(whole, at)
            elif kind == PING:
                self._write(PONG, body)
            elif kind == CLOSE:
                self._transport.close()
        del self._buffer[:begin]

    def _frame(self, begin: int) -> tuple[int, bool, bytes, int] | None:
        buffer = self._buffer
        if len(buffer) < begin + 2:
            return None
        length, start = buffer[begin + 1] & 127, begin + 2
        if length >= 126:
            size, form = (2, ">H") if length == 126 else (8, ">Q")
            if len(buffer) < start + size:
                return None
            [length], start = struct.unpack_from(form, buffer, start), start + size
        if len(buffer) < start + length:
            return None
        return buffer[begin] & 15, bool(buffer[begin] & 128), bytes(buffer[start:start + length]), start + length

    def send(self, message: bytes) -> None:
        self._write(BINARY, message)

    def _write(self, kind: int, body: bytes) -> None:
        size = len(body)
        length = (bytes([size | 128]) if size < 126 else struct.pack(">BH", 254, size) if size < 2**16
                  else struct.pack(">BQ", 255, size))
        # A mask of zeros leaves the bytes as they are.
        self._transport.write(bytes([kind | 128]) + length + bytes(4) + body)

    def connection_lost(self, error: Exception | None) -> None:
        if not self.opened.done():
            self.opened.set_exception(ConnectionError(str(error)))
        self._lost(str(error or "closed by the server"))

    def close(self) -> None:
        self._write(CLOSE, struct.pack(">H", 1001))  # as a tab that is closed
        self._transport.close()


class Visitor:
    """One session of the page.

    Args:
        query: of the address that is opened.

    Attributes:
        failures: what went wrong: an exception or an error on the page, a lost connection.
        pressed_at, answered_at: when a button was last pressed, and when the page first showed the run as one that
            waits or trains, each in seconds since 1970.
        shown: for each epoch the moment at which the chart had it.
        runs_of_script: full runs of the script, and of parts of it, that the server has ended.
    """

    def __init__(self, port: int, query: str, name: str = ""):
        self.port, self.query, self.name = port, query, name
        self.failures: list[str] = []
        self.pressed_at = self.answered_at = 0.0
        self.shown: dict[int, float] = {}
        self.runs_of_script = [0, 0]
        self.elements: dict[tuple[int, ...], tuple[str, str, Any, str]] = {}
        self._states: dict[str, WidgetState] = {}
        self._kept: dict[str, tuple[ForwardMsg, int]] = {}
        self._timers: dict[str, tuple[float, asyncio.TimerHandle]] = {}
        self._page_hash, self._run, self._fragments = "", "", []
        self._changed = asyncio.Event()
        self._is_leaving, self.is_running = False, False
        self._wire: Wire | None = None

    async def come(self) -> None:
        """Open the page. Returns when it is asked for; see `until` for what it shows."""
        loop = asyncio.get_running_loop()
        _, self._wire = await loop.create_connection(
            lambda: Wire(f"127.0.0.1:{self.port}", self._hear, self._lost), "127.0.0.1", self.port)
        await self._wire.opened
        self._ask()

    async def go(self, query: str, seconds: float = 60.0) -> bool:
        """Go to another address in the same tab, as Back does. Returns: whether the page has been drawn in time."""
        self.query, drawn = query, self.runs_of_script[0]
        self._ask(is_history=True)
        return await self.until(lambda one: one.runs_of_script[0] > drawn and not one.is_running, seconds)

    def leave(self) -> None:
        """Close the tab."""
        self._is_leaving = True
        self._forget_timers()
        if self._wire:
            self._wire.close()

    @property
    def received(self) -> int:
        """Bytes that have come."""
        return self._wire.received if self._wire else 0

    async def until(self, condition: Callable[[Visitor], bool], seconds: float = 60.0) -> bool:
        """Wait until the page is so. Returns: whether it has become so in time."""
        try:
            async with asyncio.timeout(seconds):
                while not condition(self):
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            return False
        return True

    def button(self, key: str) -> tuple[str, str] | None:
        """The id and the fragment of a button that can be pressed."""
        for kind, _, element, fragment in self.elements.values():
            if kind == "button" and element.id.endswith(f"-{key}") and not element.disabled:
                return element.id, fragment
        return None

    def texts(self, kind: str) -> list[str]:
        """What elements of a kind say, in no order."""
        return [one[2].text if kind == "progress" else one[2].body
                for one in self.elements.values() if one[0] == kind]

    @property
    def is_drawn(self) -> bool:
        """Whether the whole page has been drawn."""
        return self.runs_of_script[0] > 0 and not self.is_running

    @property
    def is_waiting(self) -> bool:
        """Whether the page has set a timer."""
        return bool(self._timers)

    @property
    def is_live(self) -> bool:
        """Whether the page shows its run as one that waits or trains."""
        return self.button("stop") is not None

    @property
    def interval(self) -> float:
        """Seconds between two rings of its slowest timer; 0 without one."""
        return max((interval for interval, _ in self._timers.values()), default=0.0)

    def press(self, key: str) -> bool:
        """Press a button. Returns: whether there is one."""
        found = self.button(key)
        if found is None:
            self.failures.append(f"no button {key}")
            return False
        self.pressed_at, self.answered_at = time.time(), 0.0
        self._ask(fragment=found[1], trigger=found[0])
        return True

    async def slide(self, key: str, value: float, seconds: float = 60.0) -> bool:
        """Move a slider. Returns: whether the page has answered in time."""
        found = [state for state_id, state in self._states.items() if state_id.endswith(f"-{key}")]
        if not found:
            self.failures.append(f"no slider {key}")
            return False
        found[0].double_array_value.data[:] = [value]
        drawn = self.runs_of_script[0]
        self._ask()
        return await self.until(lambda one: one.runs_of_script[0] > drawn and not one.is_running, seconds)

    # -- what it sends ------------------------------------------------------------------------------------

    def _ask(self, fragment: str = "", trigger: str = "", is_timer: bool = False,
             is_history: bool = False) -> None:
        message = BackMsg()
        asked = message.rerun_script
        asked.query_string, asked.page_script_hash, asked.fragment_id = self.query, self._page_hash, fragment
        asked.is_auto_rerun, asked.is_history_navigation = is_timer, is_history
        asked.cached_message_hashes.extend(self._kept)
        asked.widget_states.widgets.extend(self._states.values())
        if trigger:
            asked.widget_states.widgets.add(id=trigger, trigger_value=True)
        context = asked.context_info
        context.timezone, context.timezone_offset, context.locale = "UTC", 0, "en-US"
        context.url, context.is_embedded, context.color_scheme = f"http://127.0.0.1:{self.port}/", False, "light"
        self._wire.send(message.SerializeToString())

    def _set_timer(self, fragment: str, interval: float) -> None:
        if fragment in self._timers and self._timers[fragment][0] == interval:
            return
        self._forget_timers([fragment])
        loop = asyncio.get_running_loop()

        def ring(due: float) -> None:
            self._timers[fragment] = interval, loop.call_at(due + interval, ring, due + interval)
            self._ask(fragment, is_timer=True)

        due = loop.time() + interval
        self._timers[fragment] = interval, loop.call_at(due, ring, due)

    def _forget_timers(self, fragments: Any = None) -> None:
        for fragment in list(self._timers) if fragments is None else fragments:
            if fragment in self._timers:
                self._timers.pop(fragment)[1].cancel()

    # -- what it hears ------------------------------------------------------------------------------------

    def _lost(self, why: str) -> None:
        self._forget_timers()
        if not self._is_leaving:
            self.failures.append(f"disconnected: {why}")
        self._changed.set()

    def _hear(self, data: bytes, at: float) -> None:
        if self._is_leaving:
            return
        message = ForwardMsg.FromString(data)
        metadata, kind = message.metadata, message.WhichOneof("type")
        if kind == "ref_hash":
            message = self._kept[message.ref_hash][0]
            self._kept[message.hash] = message, self.runs_of_script[0]
            kind = message.WhichOneof("type")
        elif metadata.cacheable:
            self._kept[message.hash] = message, self.runs_of_script[0]
        if kind == "delta":
            self._draw(tuple(metadata.delta_path), message.delta, at)
        elif kind == "new_session":
            self._begin(message, metadata)
        elif kind == "auto_rerun":
            self._set_timer(message.auto_rerun.fragment_id, message.auto_rerun.interval)
        elif kind == "stop_auto_rerun":
            self._forget_timers(message.stop_auto_rerun.fragment_ids)
        elif kind == "page_info_changed":
            self.query = message.page_info_changed.query_string
        elif kind == "script_finished":
            self._end(message.script_finished)
        self._changed.set()

    def _begin(self, message: ForwardMsg, metadata: Any) -> None:
        self._run, self._fragments = metadata.run.script_run_id, list(metadata.run.fragment_ids)
        self._page_hash, self.is_running = message.new_session.page_script_hash, True
        if not self._fragments:
            self._forget_timers()

    def _end(self, status: int) -> None:
        """What this run of the script has not drawn again goes, with the state of its widgets."""
        self.is_running = False
        if status not in (ForwardMsg.FINISHED_SUCCESSFULLY, ForwardMsg.FINISHED_FRAGMENT_RUN_SUCCESSFULLY):
            return
        self.runs_of_script[bool(self._fragments)] += 1
        roots = [()]
        if self._fragments:
            roots = [min((path for path, one in self.elements.items() if one[3] == fragment and one[1] == self._run),
                         key=len, default=None) for fragment in self._fragments]
        for path, one in list(self.elements.items()):
            if one[1] != self._run and any(root is not None and path[:len(root)] == root for root in roots):
                del self.elements[path]
        ids = {getattr(one[2], "id", "") for one in self.elements.values()}
        self._states = {name: state for name, state in self._states.items() if name in ids}
        self._kept = {name: kept for name, kept in self._kept.items()
                      if self.runs_of_script[0] - kept[1] <= KEPT_RUNS}

    def _draw(self, path: tuple[int, ...], delta: Any, at: float) -> None:
        if delta.WhichOneof("type") != "new_element":
            self.elements[path] = "block", self._run, delta.add_block, delta.fragment_id
            return
        kind = delta.new_element.WhichOneof("type")
        element = getattr(delta.new_element, kind)
        self.elements[path] = kind, self._run, element, delta.fragment_id
        if kind == "button":
            if self.pressed_at and not self.answered_at and element.id.endswith("-stop"):
                self.answered_at = at
        elif kind == "vega_lite_chart":
            if "near_crossentropy" in element.spec:
                self._count(element, at)
        elif kind == "exception":
            self.failures.append(f"exception: {element.type} {element.message}")
        elif kind == "alert" and element.format == ERROR:
            self.failures.append(f"error: {element.body}")
        else:
            state = state_of(kind, element, self._states)
            if state is not None:
                self._states[state.id] = state

    def _count(self, element: Any, at: float) -> None:
        data = element.data.data if element.HasField("data") else element.datasets[0].data.data
        epochs = pyarrow.ipc.open_stream(data).read_all().num_rows
        for epoch in range(len(self.shown) + 1, epochs + 1):
            self.shown[epoch] = at


def state_of(kind: str, element: Any, known: dict[str, WidgetState]) -> WidgetState | None:
    """What a widget that has just been drawn will send, if it is new or the server has set it."""
    if kind not in ("selectbox", "slider", "checkbox", "number_input", "text_input", "button_group", "multiselect"):
        return None
    if element.id in known and not element.set_value:
        return None
    state = WidgetState(id=element.id)
    if kind == "selectbox":
        if element.set_value:
            state.string_value = element.raw_value
        elif element.HasField("default"):
            state.string_value = element.options[element.default]
        else:
            return None
    elif kind == "slider" and element.type == Slider.SELECT_SLIDER:
        state.string_array_value.data.extend(element.raw_value if element.set_value else
                                             [element.options[int(place)] for place in element.default])
    elif kind == "slider":
        state.double_array_value.data.extend(element.value if element.set_value else element.default)
    elif kind == "checkbox":
        state.bool_value = element.value if element.set_value else element.default
    elif kind == "number_input":
        if not element.HasField("value" if element.set_value else "default"):
            return None
        number = element.value if element.set_value else element.default
        if element.data_type == NumberInput.INT:
            state.int_value = int(number)
        else:
            state.double_value = number
    elif kind == "text_input":
        state.string_value = element.value if element.set_value else element.default
    elif kind == "button_group":
        state.string_array_value.data.extend(element.raw_values if element.set_value else
                                             [element.options[place].content for place in element.default])
    else:
        state.string_array_value.data.extend(element.raw_values if element.set_value else
                                             [element.options[place] for place in element.default])
    return state
