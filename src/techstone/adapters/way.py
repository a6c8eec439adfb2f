"""The way from a gateway to the control plane: Unix sockets on one machine, TCP with a pass between machines.

Where several control planes are named, one is as good as another: one that was of no use gives way to the next, who is
then asked first, by all that the gateway does. Where many find the same one of no use, the first of them turns.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from techstone.core import passes
from techstone.gateway.ports import Call, Origin, UpstreamProblem

if TYPE_CHECKING:
    from techstone.core.snapshot import Timeouts
    from techstone.gateway.ports import RemoteAnswer, Upstreams


class Choice:
    """Who is asked first; one for all ways of a gateway, so that what the stream finds out no page has to."""

    def __init__(self, *origins: Origin) -> None:
        self._origins = origins
        self._at = 0

    def rank(self) -> tuple[Origin, ...]:
        """Return all in the order in which to ask them."""
        return self._origins[self._at :] + self._origins[: self._at]

    def turn(self, origin: Origin) -> bool:
        """Do as `ControlPlane.turn`."""
        if self._origins[self._at] == origin:
            self._at = (self._at + 1) % len(self._origins)
        return len(self._origins) > 1


class Way:
    """Implements `ControlPlane`. `shown` is the pass; empty on a Unix socket, which the file system guards."""

    def __init__(self, upstreams: Upstreams, choice: Choice, shown: bytes = b"") -> None:
        self._upstreams = upstreams
        self._choice = choice
        self._pass = b"\r\n%b: %b" % (passes.HEADER, shown) if shown else b""

    async def ask(self, head: bytes, body: bytes, timeouts: Timeouts, *, head_only: bool = False) -> RemoteAnswer:
        """Send a request and return the answer once its head has come; raise UpstreamProblem."""
        left = [*self._choice.rank()]
        while True:
            origin, *left = left
            try:
                return await self._upstreams.open(Call(origin, head + self._pass, body, timeouts, head_only))
            except UpstreamProblem as problem:
                self._choice.turn(origin)
                # What was sent may have been done already.
                if problem.sent or not left:
                    raise

    def turn(self, origin: Origin) -> bool:
        """Implement `ControlPlane.turn`."""
        return self._choice.turn(origin)


def over_socket(upstreams: Upstreams, path: str) -> Way:
    """Return the way over a Unix socket."""
    return Way(upstreams, Choice(Origin("unix", path, 0)))
