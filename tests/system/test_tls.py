"""TLS as an operator configures it: a certificate, or a proxy that says https."""

from __future__ import annotations

import json
import socket
import ssl
from typing import TYPE_CHECKING

import openai
import pytest
import trustme
from service import Service, serving

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, authority: trustme.CA) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("tls")
    certificate = authority.issue_cert("127.0.0.1", "localhost")
    certificate.cert_chain_pems[0].write_to_path(folder / "cert.pem")
    certificate.private_key_pem.write_to_path(folder / "key.pem")
    with serving(folder, f'[server]\ntls_cert = "{folder}/cert.pem"\ntls_key = "{folder}/key.pem"\n') as running:
        yield running


def _exchange(service: Service, raw: bytes, context: ssl.SSLContext | None = None) -> bytes:
    plain = socket.create_connection(("127.0.0.1", service.port), timeout=5)
    with context.wrap_socket(plain, server_hostname="127.0.0.1") if context else plain as sock:
        sock.sendall(raw)
        out = b""
        while part := sock.recv(65536):
            out += part
        return out


def test_sdk_is_answered_over_tls(service: Service, authority: trustme.CA) -> None:
    """The official SDK, with the certificate verified, whole and streamed."""
    context = ssl.create_default_context()
    authority.configure_trust(context)
    http = openai.DefaultHttpxClient(verify=context)
    url = f"https://127.0.0.1:{service.port}/v1"
    assert f"Base URL: {url}" in service.printed()
    with openai.OpenAI(base_url=url, api_key=service.key, max_retries=0, http_client=http) as client:
        create = client.chat.completions.create
        whole = create(model="gpt-4o", messages=[{"role": "user", "content": "hi"}], max_tokens=5)
        assert whole.choices[0].finish_reason in {"length", "stop"}
        stream = create(model="gpt-4o", messages=[{"role": "user", "content": "hi"}], max_tokens=5, stream=True)
        assert [chunk.choices[0].finish_reason for chunk in stream][-1] in {"length", "stop"}


def test_plain_http_is_refused_without_a_redirect(service: Service) -> None:
    """403 that says what to do with the key, on the same port; the connection closes."""
    raw = f"GET /v1/models HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {service.key}\r\n\r\n".encode()
    answer = _exchange(service, raw)
    assert answer.startswith(b"HTTP/1.1 403 Forbidden\r\n")
    assert b"location:" not in answer.lower()
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["error"]["code"] == "https_required"
    assert service.key.encode() not in answer


def test_session_over_tls_is_for_this_host_and_tls_alone(service: Service, authority: trustme.CA) -> None:
    """`__Host-`, Secure, HttpOnly; and browsers are told to come by HTTPS for a year (rows W-3, W-4)."""
    context = ssl.create_default_context()
    authority.configure_trust(context)
    link = service.printed().partition("/console/link/")[2].split()[0]
    head = (
        f"Host: 127.0.0.1:{service.port}\r\nOrigin: {service.url.replace('http:', 'https:')}\r\nConnection: close\r\n"
    )
    page = _exchange(service, f"GET /console/link/{link} HTTP/1.1\r\n{head}\r\n".encode(), context)
    assert b"strict-transport-security: max-age=31536000" in page.lower()
    csrf = page.partition(b'name="csrf" value="')[2][:64].decode()
    body = f"csrf={csrf}&email=a@example.com&password=correct+horse+battery"
    form = f"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {len(body)}\r\n"
    answer = _exchange(service, f"POST /console/link/{link} HTTP/1.1\r\n{head}{form}\r\n{body}".encode(), context)
    assert answer.startswith(b"HTTP/1.1 303")
    cookie = answer.lower().partition(b"set-cookie: ")[2].partition(b"\r\n")[0].decode()
    assert cookie.startswith("__host-techstone=")
    assert set(cookie.split("; ")[1:]) == {"httponly", "secure", "path=/", "samesite=lax"}


def test_old_tls_is_refused(service: Service, authority: trustme.CA) -> None:
    """TLS 1.1 and older do not connect."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authority.configure_trust(context)
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises((ssl.SSLError, ConnectionError)):
        _exchange(service, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", context)


def test_handshake_rubbish_closes_only_its_own_connection(service: Service, authority: trustme.CA) -> None:
    """Bytes that begin like TLS and are none are dropped; the next client is served."""
    assert b"HTTP" not in _exchange(service, b"\x16\x03\x01\x00\x05rubbish and more of it")
    context = ssl.create_default_context()
    authority.configure_trust(context)
    answer = _exchange(service, b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", context)
    assert answer.startswith(b"HTTP/1.1 200 OK")


def test_only_a_trusted_proxy_may_say_https(tmp_path: Path) -> None:
    """On an address that others reach, a proxy's word makes a request secure; without it the answer is 403."""
    with serving(tmp_path, '[server]\nhost = "0.0.0.0"\ntrusted_proxies = ["127.0.0.1"]\n') as service:
        head = f"GET /v1/models HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer {service.key}\r\n"
        assert _exchange(service, f"{head}\r\n".encode()).startswith(b"HTTP/1.1 403")
        assert _exchange(service, f"{head}X-Forwarded-Proto: http\r\n\r\n".encode()).startswith(b"HTTP/1.1 403")
        assert _exchange(service, f"{head}X-Forwarded-Proto: https\r\n\r\n".encode()).startswith(b"HTTP/1.1 200")
        # A kubelet, and Prometheus, come past the proxy and have no key.
        assert service.get("/healthz")[0] == service.get("/readyz")[0] == service.get("/metrics")[0] == 200


def test_unreadable_certificate_stops_the_start(tmp_path: Path) -> None:
    """One line that names the keys; no process is left."""
    service = Service(tmp_path, '[server]\ntls_cert = "none.pem"\ntls_key = "none.pem"\n')
    done = service.run("serve", "--port", str(service.port))
    assert done.returncode == 1
    assert "server.tls_cert, server.tls_key: " in done.stderr
