"""The Console under people: every page timed on books of ten million requests, and the API's p99 while 50 click.

Pages are found as people find them, by links from the first one on, and some by forms; one of each kind is timed, from
the first byte of the request to the last of the answer, on loopback and through the gateway: a little more than the
server's own time.
"""

from __future__ import annotations

import contextlib
import http.client
import random
import re
import statistics
import threading
import time
import urllib.parse
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from servers import Server

EMAIL, PASSWORD = "bench@example.com", "correct horse battery"
# What is asked for by forms, which have no link: the longest and the rarest.
SEARCHES = (
    "/console/usage?span=90d&by=key",
    "/console/usage?span=90d&by=day",
    "/console/logs?span=90d&status=failed",
    "/console/logs?span=90d&model=m19&slow=60000",
    "/console/operate/accounts?find=9999",
)
_FORM = "application/x-www-form-urlencoded"
_LINK = re.compile(r'href="(/console[^"#]*)"')
# What tells two pages of a kind apart: ids, numbers, and what is looked for.
_PARTICULAR = re.compile(r"(?<=/)\w+_[0-9a-f]\w*|(?<==)[^&]+|(?<=/)[A-Z]+-[0-9]+-[0-9]+")


@dataclass
class Person:
    """Somebody with a session: opens pages and counts what was no page."""

    server: Server
    cookie: str = ""
    bad: int = 0
    seconds: list[float] = field(default_factory=list)

    def open(self, path: str, form: dict[str, str] | None = None) -> str:
        """Open a page, or send a form to it; return its text."""
        headers = {"Cookie": self.cookie} if self.cookie else {}
        body = None
        if form is not None:
            headers |= {"Content-Type": _FORM, "Origin": f"http://127.0.0.1:{self.server.port}"}
            body = urllib.parse.urlencode(form)
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=60)) as connection:
            connection.connect()
            began = time.perf_counter()
            connection.request("GET" if body is None else "POST", path, body, headers)
            answer = connection.getresponse()
            text = answer.read().decode(errors="replace")
            self.seconds.append(time.perf_counter() - began)
            self.bad += answer.status >= 400
            if found := re.match(r"(?:__Host-)?techstone=[^;]+", answer.getheader("set-cookie") or ""):
                self.cookie = found[0]
            return text

    def send(self, path: str, **fields: str) -> None:
        """Send the form of a page."""
        found = re.search(r'name="csrf" value="(\w+)"', self.open(path))
        self.open(path, {"csrf": found[1] if found else "", **fields})


def log_in(server: Server) -> Person:
    """Return somebody who has logged in."""
    person = Person(server)
    person.send("/console/log-in", email=EMAIL, password=PASSWORD)
    if person.bad or "/console/log-out" not in person.open("/console"):
        raise RuntimeError("nobody could log in")
    return person


def find_pages(person: Person) -> dict[str, str]:
    """Return one address of each kind of page, by its kind, following every link from the first page on."""
    found = {address: address for address in ("/console", *SEARCHES)}
    waiting = list(found)
    while waiting:
        for link in _LINK.findall(person.open(waiting.pop()).replace("&amp;", "&")):
            kind = _PARTICULAR.sub("…", link)
            if kind not in found:
                found[kind] = link
                waiting.append(link)
    return dict(sorted(found.items()))


def time_page(person: Person, path: str, times: int) -> list[float]:
    """Return how long the page takes, so many times, in seconds."""
    person.seconds.clear()
    for _ in range(times):
        person.open(path)
    return list(person.seconds)


@contextlib.contextmanager
def clicking(server: Server, pages: list[str], people: int, pause: float) -> Iterator[list[Person]]:
    """Have so many people open pages, one every `pause` seconds each on average; each logs in anew now and then."""
    over = threading.Event()
    crowd = [log_in(server) for _ in range(people)]

    def click(person: Person, chance: random.Random) -> None:
        while not over.wait(chance.expovariate(1 / pause)):
            if chance.random() < 0.02:
                person.cookie = ""
                person.send("/console/log-in", email=EMAIL, password=PASSWORD)
            else:
                person.open(chance.choice(pages))

    threads = [
        threading.Thread(target=click, args=(person, random.Random(number))) for number, person in enumerate(crowd)
    ]
    for person, thread in zip(crowd, threads, strict=True):
        person.seconds.clear()
        thread.start()
    try:
        yield crowd
    finally:
        over.set()
        for thread in threads:
            thread.join()


def tell_pages(times: dict[str, list[float]]) -> Iterator[str]:
    """Yield a line a page, the slowest first."""
    ordered = sorted(times.items(), key=lambda item: -statistics.median(item[1]))
    for kind, seconds in ordered:
        yield f"{statistics.median(seconds) * 1000:>8.1f}  {max(seconds) * 1000:>8.1f}  {kind}"
