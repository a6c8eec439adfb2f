"""A real issuer of log-ins: `tests/node/issuer.mjs` as a process, and somebody who goes through its pages."""

from __future__ import annotations

import contextlib
import http.cookiejar
import json
import re
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any

from service import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

NODE = Path(__file__).parents[1] / "node"
CLIENT, SECRET = "techstone", "a secret of forty characters and some more"


class Issuer:
    """One issuer on this machine; `spoil` has it send broken tokens."""

    def __init__(self) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"

    def configure(self, name: str, *more: str) -> str:
        """Return the lines of techstone.toml for this issuer."""
        head = f'[[oidc]]\nname = "{name}"\nissuer = "{self.url}"\nclient_id = "{CLIENT}"\n'
        return "\n".join((f'{head}client_secret_env = "ISSUER_SECRET"', *more, ""))

    def spoil(self, **how: object) -> None:
        """Have its tokens changed from now on; without arguments they are good again."""
        request = urllib.request.Request(f"{self.url}/spoil", json.dumps(how).encode(), method="PUT")
        urllib.request.urlopen(request, timeout=10).close()


class _Stay(urllib.request.HTTPRedirectHandler):
    """Follows redirects within the issuer, and stops at the one that leads away."""

    def __init__(self, home: str) -> None:
        self._home = home

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:  # noqa: ANN401 - urllib's
        return super().redirect_request(req, fp, code, msg, headers, newurl) if newurl.startswith(self._home) else None


def pass_through(issuer: Issuer, url: str, login: str) -> str:
    """Log in on the issuer's own pages, agree, and return the URL that it sends the browser back to."""
    jar = urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar())
    opener = urllib.request.build_opener(jar, _Stay(f"{issuer.url}/"))
    fields: dict[str, str] | None = None
    for _ in range(5):
        data = urllib.parse.urlencode(fields).encode() if fields else None
        try:
            with opener.open(url, data, timeout=30) as answer:
                page = answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                if error.code not in {302, 303}:
                    raise AssertionError(error.read()) from error
                return str(error.headers["location"])
        action = re.search(r'<form[^>]* action="([^"]+)"', page)
        prompt = re.search(r'name="prompt" value="(\w+)"', page)
        assert action is not None
        assert prompt is not None
        url, fields = action[1], {"prompt": prompt[1], "login": login, "password": "any"}
    raise AssertionError("the issuer asks on and on")


@contextlib.contextmanager
def issuing(*back: str, in_token: bool = False) -> Iterator[Issuer]:
    """Run an issuer that sends back to these URLs. `in_token`: the address is in the id token, not at userinfo."""
    issuer = Issuer()
    command = ["node", str(NODE / "issuer.mjs"), str(issuer.port), ",".join(back), "in-token" if in_token else ""]
    with subprocess.Popen(command, cwd=NODE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        try:
            if process.stdout.readline() != "ready\n":
                process.kill()
                raise AssertionError(process.stderr.read())
            yield issuer
        finally:
            process.kill()
