"""Asks a running server as a client would: whole answers, and streams with the time of each of their chunks."""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from http.client import HTTPResponse

Messages = Sequence[tuple[str, str]]
_LONGEST = 200


@dataclass(frozen=True)
class Server:
    """Where to ask: `url` ends in /v1."""

    url: str
    key: str
    model: str = "techstone-nano"

    def ask(self, messages: Messages, temperature: float | None = 0.0) -> tuple[str, str]:
        """Return the answer to the last of the messages (role, text) and why it ended; temperature None: its own."""
        with self._post(messages, temperature, stream=False) as answer:
            choice = json.load(answer)["choices"][0]
        return choice["message"]["content"], choice["finish_reason"]

    def follow(self, messages: Messages) -> tuple[float, list[float]]:
        """Return the seconds to the first words, and when each token came after them; one that is not shown is none."""
        began = time.perf_counter()
        times = list[float]()
        with self._post(messages, 0.0, stream=True) as answer:
            for line in answer:
                if not line.startswith(b"data: {"):
                    continue
                chunk = json.loads(line[6:])
                if any(choice["delta"].get("content") for choice in chunk["choices"]):
                    times.append(time.perf_counter())
        return times[0] - began, [at - times[0] for at in times]

    def _post(self, messages: Messages, temperature: float | None, *, stream: bool) -> HTTPResponse:
        body = {
            "model": self.model,
            "messages": [{"role": role, "content": text} for role, text in messages],
            "max_tokens": _LONGEST,
            "stream": stream,
        }
        if temperature is not None:
            body["temperature"] = temperature
        request = urllib.request.Request(  # noqa: S310 - the URL is the operator's own
            f"{self.url.rstrip('/')}/chat/completions",
            json.dumps(body).encode(),
            {"Content-Type": "application/json", "Authorization": f"Bearer {self.key}"},
        )
        answer: HTTPResponse = urllib.request.urlopen(request, timeout=120)  # noqa: S310 - the same
        return answer
