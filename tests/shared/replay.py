"""A server on a raw socket that answers with exactly the bytes that it is told, in exactly the pieces.

A piece is a chunk of HTTP's chunked coding, which HTTP clients hand on one by one however the network joins them: so
cuts need no pauses. `test_pieces_arrive_as_they_were_cut` in tests/sdk holds that true.
"""

from __future__ import annotations

import contextlib
import socketserver
import threading
from http import HTTPStatus
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


class Reply(NamedTuple):
    """An answer; `lost` says that the connection breaks off where its end should be."""

    status: int
    headers: Mapping[str, str]
    pieces: list[bytes]
    lost: bool = False

    def write(self) -> bytes:
        """Return it as it is sent: header values in UTF-8, as Go writes its µs."""
        lines = [f"HTTP/1.1 {self.status} {HTTPStatus(self.status).phrase}"]
        lines += [f"{name}: {value}" for name, value in self.headers.items()]
        head = "\r\n".join([*lines, "transfer-encoding: chunked", "", ""]).encode()
        body = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in self.pieces if piece)
        return head + body + (b"" if self.lost else b"0\r\n\r\n")


class Replayer:
    """Answers one after the other, the last one ever after; counts the requests since it was told."""

    def __init__(self) -> None:
        self.url = ""
        self.requests = 0
        self._replies: list[Reply] = []

    def answer(self, *replies: Reply) -> None:
        """Set what is answered from now on."""
        self.requests = 0
        self._replies = list(replies)

    def take(self) -> Reply:
        """Return the next answer."""
        self.requests += 1
        return self._replies.pop(0) if len(self._replies) > 1 else self._replies[0]


@contextlib.contextmanager
def replaying() -> Iterator[Replayer]:
    """Run a server for a while."""
    replayer = Replayer()

    class Connection(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            with contextlib.suppress(ConnectionError):
                while self._read_request():
                    reply = replayer.take()
                    self.wfile.write(reply.write())
                    if reply.lost:
                        return

        def _read_request(self) -> bool:
            length = 0
            while (line := self.rfile.readline().lower()) not in {b"", b"\r\n"}:
                if line.startswith(b"content-length:"):
                    length = int(line.partition(b":")[2])
            self.rfile.read(length)
            return line != b""

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Connection) as server:
        server.daemon_threads = True
        server.block_on_close = False  # connections that clients keep open end with the process
        thread = threading.Thread(target=server.serve_forever, args=[0.01], daemon=True)
        thread.start()
        replayer.url = f"http://127.0.0.1:{server.server_address[1]}/v1"
        try:
            yield replayer
        finally:
            server.shutdown()
            thread.join()
