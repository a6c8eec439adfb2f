"""Server-sent events: from bytes in any pieces to the payloads of their `data` lines (WHATWG HTML, section 9.2.6).

Accepts what upstreams really send: LF, CR LF or CR line ends, `data:` with or without the space, comments, other
fields, a byte order mark, data over several lines. "Not yet" is an empty list; a line over the bound, `StreamError`.
"""

from __future__ import annotations

# No chunk of a completion comes near; a line without end is an attack or a defect (row M-3, the 100 MB line).
LINE_LIMIT = 1024 * 1024


class StreamError(Exception):
    """The bytes are no event stream that we would relay."""


class Splitter:
    """Bytes in, payloads of whole events out. `started` says that it takes over in the middle of a stream."""

    __slots__ = ("_buffer", "_data", "_held", "_skip_lf", "_started")

    def __init__(self, *, started: bool = False) -> None:
        self._buffer = b""
        self._data: list[bytes] = []
        self._held = 0
        self._skip_lf = False
        self._started = started  # then a byte order mark is no longer one

    @property
    def resting(self) -> bool:
        """Whether nothing of a next event has come yet."""
        return not self._buffer and not self._data and not self._skip_lf

    def feed(self, data: bytes) -> list[bytes]:
        """Take bytes, return the payloads of the events that they complete."""
        payloads: list[bytes] = []
        buffer = self._buffer + data if self._buffer else data
        if not self._started and buffer:
            if len(buffer) < 3 and b"\xef\xbb\xbf".startswith(buffer):
                self._buffer = buffer
                return payloads
            self._started = True
            buffer = buffer.removeprefix(b"\xef\xbb\xbf")
        if self._skip_lf and buffer:
            self._skip_lf = False
            if buffer[:1] == b"\n":
                buffer = buffer[1:]
        lines = buffer.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
        self._buffer = lines.pop()
        if buffer[-1:] == b"\r":
            self._skip_lf = True  # its LF may be the next byte
        for line in lines:
            if not line:
                self._end_event(payloads)
            elif line.startswith(b"data:") or line == b"data":
                value = line[6:] if line[5:6] == b" " else line[5:]
                self._held += len(value) + 1  # and its line end, or empty lines would have no bound
                if self._held > LINE_LIMIT:
                    raise StreamError("an event of more than 1 MiB")
                self._data.append(value)
        if len(self._buffer) > LINE_LIMIT:
            raise StreamError("a line of more than 1 MiB")
        return payloads

    def _end_event(self, payloads: list[bytes]) -> None:
        if self._data:
            payloads.append(self._data[0] if len(self._data) == 1 else b"\n".join(self._data))
            self._data = []
            self._held = 0
