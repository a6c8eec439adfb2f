"""A provider for a test's server process: answers by the model's name that it is asked for."""

from __future__ import annotations

import contextlib
import http.server
import json
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

USAGE = {"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11}
CALL = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Paris"}'}}


class _Handler(http.server.BaseHTTPRequestHandler):
    """`fail-503` fails with that status, `silent` never answers; tools are called; all else says "Hello."."""

    protocol_version = "HTTP/1.1"
    received: list[dict[str, Any]]
    keys: list[str | None]

    def do_GET(self) -> None:
        """Tell the models, to who has the key where there is one."""
        self.keys.append(self.headers.get("Authorization"))
        if self.path == "/health":  # as an engine's
            self._answer(200, {})
        elif self.path == "/metrics":
            self._tell(b"vllm:num_requests_running 3\nvllm:num_requests_waiting 1\nvllm:kv_cache_usage_perc 0.42\n")
        elif self.path == "/v1/models":
            self._answer(200, {"object": "list", "data": [{"id": "up-1", "object": "model"}, {"id": "up-2"}]})
        else:
            self._answer(404, {"error": {"message": "no such path"}})

    def do_POST(self) -> None:
        self.keys.append(self.headers.get("Authorization"))
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.received.append(body)
        if body["model"] == "silent":
            self.rfile.read(1)  # until it is hung up
        elif body["model"] == "endless-line":
            self._flood(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: ")
        elif body["model"] == "endless-head":
            self._flood(b"HTTP/1.1 200 OK\r\nX-A: ")
        elif body["model"].startswith("fail-"):
            self._answer(int(body["model"][5:]), {"error": {"message": "no", "type": "x", "param": None, "code": None}})
        elif body.get("stream"):
            self._stream(body)
        else:
            message: dict[str, Any] = {"role": "assistant", "content": "Hello.", "refusal": None}
            if body.get("tools"):
                message |= {"content": None, "tool_calls": [CALL]}
            choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
            whole = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "up", "choices": [choice]}
            self._answer(200, {**whole, "usage": USAGE})

    def _flood(self, beginning: bytes) -> None:
        """Send 100 MB without a line end, for as long as somebody reads."""
        self.close_connection = True
        with contextlib.suppress(OSError):
            self.wfile.write(beginning)
            for _ in range(100):
                self.wfile.write(b"x" * 1_000_000)

    def _answer(self, status: int, body: dict[str, Any]) -> None:
        self._tell(json.dumps(body).encode(), status, "application/json")

    def _tell(self, data: bytes, status: int = 200, kind: str = "text/plain") -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _stream(self, body: dict[str, Any]) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        deltas: list[dict[str, Any]] = [{"role": "assistant", "content": ""}, {"content": "Hel"}, {"content": "lo."}]
        if body.get("tools"):
            deltas = [{"role": "assistant", "tool_calls": [{"index": 0, **CALL}]}]
        base = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "up"}
        chunks: list[dict[str, Any]] = [
            {**base, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]} for delta in deltas
        ]
        chunks.append({**base, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
        chunks.append({**base, "choices": [], "usage": USAGE})
        for text in (*map(json.dumps, chunks), "[DONE]"):
            event = f"data: {text}\n\n".encode()
            self.wfile.write(b"%x\r\n%b\r\n" % (len(event), event))
        self.wfile.write(b"0\r\n\r\n")

    def log_message(self, *_: object) -> None:
        """Be quiet."""


@contextlib.contextmanager
def providing(keys: list[str | None] | None = None) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Run the provider; give its base URL and the list of the bodies that it received; `keys` takes the keys."""
    received: list[dict[str, Any]] = []
    handler = type("Handler", (_Handler,), {"received": received, "keys": [] if keys is None else keys})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/v1", received
        finally:
            server.shutdown()
            thread.join()
