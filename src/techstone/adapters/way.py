"""The way from a gateway to the control plane: Unix sockets on one machine, TCP with a pass between machines.

Where several control planes are named, one is as good as another: whichever answered last is asked first, and one that
cannot be reached gives way to the next.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from techstone.core import passes
from techstone.gateway.ports import Answer, Call, Origin, UpstreamProblem

if TYPE_CHECKING:
    from techstone.core.snapshot import Timeouts
    from techstone.gateway.ports import Upstreams


class Way:
    """Implements `ControlPlane`. `shown` is the pass; empty on a Unix socket, which the file system guards."""

    def __init__(self, upstreams: Upstreams, origins: tuple[Origin, ...], shown: bytes = b"") -> None:
        self._upstreams = upstreams
        self._origins = origins
        self._at = 0
        self._pass = b"\r\n%b: %b" % (passes.HEADER, shown) if shown else b""

    async def ask(self, head: bytes, body: bytes, timeouts: Timeouts, *, head_only: bool = False) -> Answer:
        """Send a request and return the answer once its head has come; raise UpstreamProblem."""
        left = len(self._origins)
        while True:
            left -= 1
            call = Call(self._origins[self._at], head + self._pass, body, timeouts, head_only)
            try:
                return await self._upstreams.open(call)
            except UpstreamProblem as problem:
                self.turn()
                # What was not connected was not sent; anything else may have been done already.
                if problem.kind != "connect" or not left:
                    raise

    def turn(self) -> bool:
        """Ask the next one from now on: this one was of no use; say whether there is another one."""
        self._at = (self._at + 1) % len(self._origins)
        return len(self._origins) > 1


def over_socket(upstreams: Upstreams, path: str) -> Way:
    """Return the way over a Unix socket."""
    return Way(upstreams, (Origin("unix", path, 0),))
