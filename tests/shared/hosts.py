"""Hosts of a test's own: network namespaces on one bridge, so that a way can be cut and a machine lost.

Each namespace is held by one process that sleeps, and is gone with it: ended at the end, and by the kernel where the
test itself is killed. What a thread starts or connects while it stands in a host (`inside`) is that host's. Needs root,
or `unshare -Urn --map-root-user` around the tests; where that cannot be had, the tests are skipped and say so.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

_LIBC = ctypes.CDLL(None, use_errno=True)
_CLONE_NEWNET = 0x40000000
_PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
_NEEDED = ("ip", "iptables", "unshare", "setpriv")
# Of RFC 2544, for tests of networks: no machine has it.
_NET = "198.18.0"


class Host:
    """A machine. `address` is its own on the network."""

    def __init__(self, name: str, number: int) -> None:
        self.name = f"{name}-{os.getpid()}"
        self.address = f"{_NET}.{number}"
        # Held until this process ends, in whichever way.
        words = ["unshare", "--net", "setpriv", "--pdeathsig", "KILL", "sh", "-c", "echo; exec sleep 86400"]
        self._holder = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert self._holder.stdout is not None
        if not self._holder.stdout.readline():
            assert self._holder.stderr is not None
            raise OSError(self._holder.stderr.read().strip())
        self._file = os.open(f"/proc/{self._holder.pid}/ns/net", os.O_RDONLY)

    @property
    def pid(self) -> int:
        """The process that holds it."""
        return self._holder.pid

    @contextlib.contextmanager
    def inside(self) -> Iterator[None]:
        """Stand in it, with this thread and all that it starts."""
        before = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        try:
            _enter(self._file)
            try:
                yield
            finally:
                _enter(before)
        finally:
            os.close(before)

    def cut(self, *others: Host) -> None:
        """Drop all that comes from and goes to other hosts, without a word to either."""
        self._filter("-A", others)

    def mend(self, *others: Host) -> None:
        """Undo `cut`."""
        self._filter("-D", others)

    def _filter(self, verb: str, others: tuple[Host, ...]) -> None:
        with self.inside():
            for other in others:
                _run("iptables", "-w", verb, "INPUT", "-s", other.address, "-j", "DROP")
                _run("iptables", "-w", verb, "OUTPUT", "-d", other.address, "-j", "DROP")

    def power_off(self) -> None:
        """Lose the machine: nobody hears a last word of its connections, and all that runs in it is killed."""
        with self.inside():
            _run("ip", "link", "set", "eth0", "down")
        for pid in self._list():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def power_on(self) -> None:
        """Have it back, with nothing that runs in it."""
        with self.inside():
            _run("ip", "link", "set", "eth0", "up")

    def _list(self) -> list[int]:
        """Return what runs in it, but for its holder."""
        own, found = os.fstat(self._file).st_ino, []
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if (folder / "ns" / "net").stat().st_ino == own and int(folder.name) != self.pid:
                    found.append(int(folder.name))
        return found

    def end(self) -> None:
        """Give it up."""
        os.close(self._file)
        self._holder.kill()
        self._holder.communicate()


class Network:
    """A bridge, in a host of its own, and the hosts on it."""

    def __init__(self) -> None:
        self._hosts: list[Host] = []
        self._bridge = Host("bridge", 254)
        with self._bridge.inside():
            _run("ip", "link", "add", "bridge", "type", "bridge")
            _run("ip", "link", "set", "bridge", "up")

    def add(self, name: str) -> Host:
        """Return a new host."""
        number = len(self._hosts) + 1
        host = Host(name, number)
        self._hosts.append(host)
        with self._bridge.inside():
            peer = ("peer", "name", "eth0", "netns", str(host.pid))
            _run("ip", "link", "add", f"port{number}", "type", "veth", *peer)
            _run("ip", "link", "set", f"port{number}", "master", "bridge", "up")
        with host.inside():
            _run("ip", "link", "set", "lo", "up")
            _run("ip", "address", "add", f"{host.address}/24", "dev", "eth0")
            _run("ip", "link", "set", "eth0", "up")
        return host

    def end(self) -> None:
        """Give all up."""
        for host in (*self._hosts, self._bridge):
            host.end()


@contextlib.contextmanager
def networking() -> Iterator[Network]:
    """Give a network for a while; skip the test where this machine has none."""
    missing = [program for program in _NEEDED if not shutil.which(program, path=_PATH)]
    if missing:
        pytest.skip(f"hosts need {', '.join(missing)}: apt-get install iproute2 iptables util-linux")
    try:
        network = Network()
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"hosts need root, or CAP_NET_ADMIN (unshare -Urn --map-root-user): {error}")
    try:
        yield network
    finally:
        network.end()


def _enter(file: int) -> None:
    if _LIBC.setns(file, _CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def _run(*words: str) -> None:
    subprocess.run(words, check=True, capture_output=True, env={"PATH": _PATH})
