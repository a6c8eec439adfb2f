"""The Console's forms as a browser sends them, over HTTP, and the letters that it writes."""

from __future__ import annotations

import email
import email.policy
import http.client
import re
import urllib.parse
from typing import TYPE_CHECKING

from service import wait_until

if TYPE_CHECKING:
    from service import Service

PASSWORD = "correct horse battery"
_FORM = "application/x-www-form-urlencoded"


class Answer:
    """One answer: status, headers (the last of a name), text."""

    def __init__(self, response: http.client.HTTPResponse) -> None:
        self.status = response.status
        self.headers = {name.lower(): value for name, value in response.getheaders()}
        self.cookies = [value for name, value in response.getheaders() if name.lower() == "set-cookie"]
        self.text = response.read().decode()


class Browser:
    """Keeps cookies, and sends what a browser sends with a form."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.cookies: dict[str, str] = {}

    @property
    def cookie(self) -> str:
        """All of them, as they are sent."""
        return "; ".join(f"{name}={value}" for name, value in self.cookies.items())

    @cookie.setter
    def cookie(self, sent: str) -> None:
        self.cookies = dict(one.split("=", 1) for one in sent.split("; ") if one)

    def send(self, method: str, path: str, body: str | None = None, **headers: str) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.service.port, timeout=30)
        sent = {"User-Agent": "Browser/1", **({"Cookie": self.cookie} if self.cookie else {})}
        if body is not None:
            sent |= {"Content-Type": _FORM, "Origin": self.service.url}
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, body, {name: value for name, value in sent.items() if value})
        answer = Answer(connection.getresponse())
        connection.close()
        for cookie in answer.cookies:
            name, value = cookie.partition(";")[0].split("=", 1)
            self.cookies[name] = value
            if "max-age=0" in cookie.lower():
                del self.cookies[name]
        return answer

    def open(self, path: str) -> Answer:
        return self.send("GET", path)

    def submit(self, path: str, page: str | None = None, csrf: str | None = None, **fields: str) -> Answer:
        """Send a form of a page (else of the same path), with the token that stands in it."""
        if csrf is None:
            found = re.search(r'name="csrf" value="(\w+)"', self.open(page or path).text)
            assert found is not None
            csrf = found[1]
        return self.send("POST", path, urllib.parse.urlencode({"csrf": csrf, **fields}))


def letters(service: Service) -> list[str]:
    folder = service.folder / "data" / "outbox"
    found = sorted(folder.glob("*.eml")) if folder.exists() else []
    return [email.message_from_bytes(path.read_bytes(), policy=email.policy.default).get_content() for path in found]


def newest_link(service: Service, count: int) -> str:
    """Return the path of the link in the newest letter, once there are so many."""
    wait_until(lambda: len(letters(service)) >= count)
    found = re.search(r"(/console/link/[\w-]+)", letters(service)[-1])
    assert found is not None
    return found[1]


def claim(service: Service, address: str) -> Browser:
    """Claim the cloud by the link of its first start."""
    found = re.search(r"(/console/link/[\w-]+)", service.printed())
    assert found is not None
    browser = Browser(service)
    assert browser.submit(found[1], email=address, password=PASSWORD).status == 303
    return browser


def join(service: Service, address: str) -> Browser:
    """Sign someone up by letter."""
    browser = Browser(service)
    before = len(letters(service))
    assert "Look into your mail" in browser.submit("/console/sign-up", email=address).text
    link = newest_link(service, before + 1)
    assert browser.submit(link, password=PASSWORD).status == 303
    return browser
