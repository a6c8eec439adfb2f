"""Raw requests and what must come of them: the front's own corpus (reliability rows H-1, H-4, O-6)."""

from __future__ import annotations

CHAT = b'{"model":"gpt-4o","messages":[{"role":"user","content":"hi"}]}'
H = b"Host: x\r\n"
T = b"Transfer-Encoding: chunked\r\n"

# Framing that two parsers could read differently (RFC 9112 sections 3, 5, 6 and 7): each must be refused and closed.
REFUSED = {
    "content-length and chunked": b"POST / HTTP/1.1\r\n%bContent-Length: 5\r\n%b\r\n0\r\n\r\n" % (H, T),
    "chunked and content-length": b"POST / HTTP/1.1\r\n%b%bContent-Length: 5\r\n\r\n0\r\n\r\n" % (H, T),
    "two content-lengths": b"POST / HTTP/1.1\r\n%bContent-Length: 0\r\nContent-Length: 0\r\n\r\n" % H,
    "content-length list": b"POST / HTTP/1.1\r\n%bContent-Length: 0, 0\r\n\r\n" % H,
    "content-length plus": b"POST / HTTP/1.1\r\n%bContent-Length: +0\r\n\r\n" % H,
    "content-length minus": b"POST / HTTP/1.1\r\n%bContent-Length: -1\r\n\r\n" % H,
    "content-length hex": b"POST / HTTP/1.1\r\n%bContent-Length: 0x0\r\n\r\n" % H,
    "content-length empty": b"POST / HTTP/1.1\r\n%bContent-Length: \r\n\r\n" % H,
    "content-length huge": b"POST / HTTP/1.1\r\n%bContent-Length: 99999999999999999999\r\n\r\n" % H,
    "chunked twice": b"POST / HTTP/1.1\r\n%bTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n" % H,
    "two transfer-encodings": b"POST / HTTP/1.1\r\n%b%b%b\r\n0\r\n\r\n" % (H, T, T),
    "gzip, chunked": b"POST / HTTP/1.1\r\n%bTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n" % H,
    "identity": b"POST / HTTP/1.1\r\n%bTransfer-Encoding: identity\r\n\r\n" % H,
    "xchunked": b"POST / HTTP/1.1\r\n%bTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" % H,
    "chunked in 1.0": b"POST / HTTP/1.0\r\n%b%b\r\n0\r\n\r\n" % (H, T),
    "space before colon": b"POST / HTTP/1.1\r\n%bTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n" % H,
    "vertical tab in value": b"POST / HTTP/1.1\r\n%bTransfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n" % H,
    "folded header": b"GET / HTTP/1.1\r\n%bX-A: b\r\n c\r\n\r\n" % H,
    "folded first header": b"GET / HTTP/1.1\r\n X-A: b\r\n%b\r\n" % H,
    "bare LF": b"GET / HTTP/1.1\nHost: x\n\n",
    "one bare LF": b"GET / HTTP/1.1\r\nHost: x\nX-A: b\r\n\r\n",
    "bare CR": b"GET / HTTP/1.1\r\nHost: x\rX-A: b\r\n\r\n",
    "NUL in value": b"GET / HTTP/1.1\r\n%bX-A: a\0b\r\n\r\n" % H,
    "NUL in name": b"GET / HTTP/1.1\r\n%bX\0A: b\r\n\r\n" % H,
    "no host": b"GET / HTTP/1.1\r\n\r\n",
    "two hosts": b"GET / HTTP/1.1\r\nHost: x\r\nHost: x\r\n\r\n",
    "host with a path": b"GET / HTTP/1.1\r\nHost: x/y\r\n\r\n",
    "host with a space": b"GET / HTTP/1.1\r\nHost: x y\r\n\r\n",
    "host with userinfo": b"GET / HTTP/1.1\r\nHost: a@x\r\n\r\n",
    "no colon": b"GET / HTTP/1.1\r\n%bfoo\r\n\r\n" % H,
    "empty name": b"GET / HTTP/1.1\r\n%b: x\r\n\r\n" % H,
    "space in target": b"GET /a b HTTP/1.1\r\n%b\r\n" % H,
    "two spaces": b"GET  / HTTP/1.1\r\n%b\r\n" % H,
    "tab in request line": b"GET\t/ HTTP/1.1\r\n%b\r\n" % H,
    "non-ASCII target": b"GET /\xff HTTP/1.1\r\n%b\r\n" % H,
    "relative target": b"GET v1/models HTTP/1.1\r\n%b\r\n" % H,
    "no version": b"GET /\r\n%b\r\n" % H,
    "HTTP/0.9": b"GET / HTTP/0.9\r\n%b\r\n" % H,
    "HTTP/1.2": b"GET / HTTP/1.2\r\n%b\r\n" % H,
    "HTTP/2.0": b"GET / HTTP/2.0\r\n%b\r\n" % H,
    "HTTP/2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "lower-case http": b"GET / http/1.1\r\n%b\r\n" % H,
    "lower-case method": b"get / HTTP/1.1\r\n%b\r\n" % H,
    "unknown method": b"FROB / HTTP/1.1\r\n%b\r\n" % H,
    "TLS bytes": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "upgrade h2c": b"GET / HTTP/1.1\r\n%bConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n" % H,
    "upgrade websocket": b"GET /v1/models HTTP/1.1\r\n%bConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n" % H,
    "CONNECT": b"CONNECT x:443 HTTP/1.1\r\n%b\r\n" % H,
    "TRACE": b"TRACE / HTTP/1.1\r\n%b\r\n" % H,
    "expectation": b"POST /v1/chat/completions HTTP/1.1\r\n%bExpect: a-pony\r\nContent-Length: 0\r\n\r\n" % H,
    "two authorizations": b"GET /v1/models HTTP/1.1\r\n%bAuthorization: a\r\nAuthorization: b\r\n\r\n" % H,
    "101 headers": b"GET / HTTP/1.1\r\n%b%b\r\n" % (H, b"A: b\r\n" * 100),
    "33 KB head": b"GET / HTTP/1.1\r\n%bA: %b\r\n\r\n" % (H, b"b" * 33_000),
    "endless header": b"GET / HTTP/1.1\r\n%bA: %b" % (H, b"b" * 200_000),
    "body over 20 MB": b"POST /v1/chat/completions HTTP/1.1\r\n%bContent-Length: 20971521\r\n\r\n" % H,
    "bad chunk size": b"POST / HTTP/1.1\r\n%b%b\r\nz\r\n\r\n" % (H, T),
    "negative chunk size": b"POST / HTTP/1.1\r\n%b%b\r\n-1\r\n\r\n" % (H, T),
    "0x chunk size": b"POST / HTTP/1.1\r\n%b%b\r\n0x1\r\na\r\n0\r\n\r\n" % (H, T),
    "long chunk": b"POST / HTTP/1.1\r\n%b%b\r\n1\r\nab\r\n0\r\n\r\n" % (H, T),
    "chunk with LF": b"POST / HTTP/1.1\r\n%b%b\r\n1\na\n0\n\n" % (H, T),
    "chunk extension of 200 KB": b"POST / HTTP/1.1\r\n%b%b\r\n1;%b\r\na\r\n" % (H, T, b"x" * 200_000),
    "LF in chunk extension": b"POST / HTTP/1.1\r\n%b%b\r\n1;a\nb\r\na\r\n0\r\n\r\n" % (H, T),
    "20,000 trailers": b"POST / HTTP/1.1\r\n%b%b\r\n0\r\n%b\r\n" % (H, T, b"A: b\r\n" * 20_000),
    "trailer without colon": b"POST / HTTP/1.1\r\n%b%b\r\n0\r\nfoo\r\n\r\n" % (H, T),
    "chunk size of 17 digits": b"POST / HTTP/1.1\r\n%b%b\r\n%b\r\n" % (H, T, b"f" * 17),
}  # fmt: skip

# More of the same kinds, one line each.
_LENGTHS = (
    b"5 5",
    b"1.0",
    b"1e1",
    b"0\x00",
    b"5;x",
    b'"5"',
    b"1234567890123456",
    b"\xd9\xa5",
    b"5\t5",
    b"- 5",
    b"5,5",
    b"5, 6",
)
_CODINGS = (
    b"chunked, identity",
    b"chunked;q=1",
    b'"chunked"',
    b"chunked,",
    b", chunked",
    b"chunk",
    b"chunked\x00",
    b"deflate",
)
_HOSTS = (b"x, y", b"x:123456", b"[::1", b"x#y", b"x?y", b"x\\y", b"http://x", b"\xffx", b"x:y", b"<x>")
_NAMES = (b"X A", b"X(A", b"X@A", b"X\tA", b"X\xffA", b"X/A", b"[X]", b'"X"', b"X{A}", b"X;A")
_VALUES = (b"a\x7fb", b"a\x01b", b"a\x1bb", b"a\x0cb", b"a\x08")
_LINES = (
    b" GET / HTTP/1.1",
    b"GET / HTTP/1.1 ",
    b"GET / HTTP/1.1x",
    b"GET / HTTP/11",
    b"GET / HTTP/1.10",
    b"GET / HTTPS/1.1",
    b"GET / HTTP/1.1\x00",
    b"GET / HTTP/1.1\r",
    b"G3T / HTTP/1.1",
    b"GET /\x01 HTTP/1.1",
    b"GET /\x7f HTTP/1.1",
    b"GET x:443 HTTP/1.1",
    b"GET * HTTP/1.1",
    b"GET ftp://x/ HTTP/1.1",
    b"GET / HTTP/1,1",
    b"GET / HTTP /1.1",
    b"GET",
    b"/ GET HTTP/1.1",
    b"GETGETGETGETGETGET / HTTP/1.1",
    b"TRACK / HTTP/1.1",
    b"CONNECT /v1/models HTTP/1.1",
)
_CHUNKS = (
    b" 1\r\na\r\n0\r\n\r\n", b"+1\r\na\r\n0\r\n\r\n", b"1_0\r\na\r\n0\r\n\r\n", b"\r\n0\r\n\r\n", b"1\ra\r\n0\r\n\r\n",
    b"1\r\naXX0\r\n\r\n", b"1\r\na\n0\r\n\r\n", b"fffffffff\r\n", b"1;\x00\r\na\r\n0\r\n\r\n", b"0\r\nA : b\r\n\r\n",
    b"0\r\n A: b\r\n\r\n", b"0\r\nA: \x00\r\n\r\n", b"1 \r\na\r\n0\r\n\r\n", b"1.0\r\na\r\n0\r\n\r\n",
    b"1\r\na\r\n" * 5000,
)  # fmt: skip
REFUSED |= {
    f"content-length {value!r}": b"POST / HTTP/1.1\r\n%bContent-Length: %b\r\n\r\n" % (H, value) for value in _LENGTHS
}
REFUSED |= {
    f"coding {value!r}": b"POST / HTTP/1.1\r\n%bTransfer-Encoding: %b\r\n\r\n0\r\n\r\n" % (H, value)
    for value in _CODINGS
}
REFUSED |= {f"host {value!r}": b"GET / HTTP/1.1\r\nHost: %b\r\n\r\n" % value for value in _HOSTS}
REFUSED |= {f"name {name!r}": b"GET / HTTP/1.1\r\n%b%b: x\r\n\r\n" % (H, name) for name in _NAMES}
REFUSED |= {f"value {value!r}": b"GET / HTTP/1.1\r\n%bX-A: %b\r\n\r\n" % (H, value) for value in _VALUES}
REFUSED |= {f"line {line!r}": b"%b\r\n%b\r\n" % (line, H) for line in _LINES}
REFUSED |= {f"chunks {body[:20]!r}": b"POST / HTTP/1.1\r\n%b%b\r\n%b" % (H, T, body) for body in _CHUNKS}
REFUSED |= {
    "two content-types": b"POST /v1/chat/completions HTTP/1.1\r\n%bContent-Type: a\r\nContent-Type: b\r\n\r\n" % H,
    "two expectations": b"PUT / HTTP/1.1\r\n%bExpect: 100-continue\r\nExpect: 100-continue\r\nContent-Length: 0\r\n\r\n"
    % H,
    "coding below length": b"POST / HTTP/1.1\r\n%bcontent-length: 4\r\ntransfer-encoding: CHUNKED\r\n\r\n0\r\n\r\n" % H,
    "length of nothing, then a request": b"GET /v1/models HTTP/1.1\r\n%bContent-Length: 0\r\nContent-Length: 47\r\n\r\n"
    % H,
    "5,000 headers": b"GET / HTTP/1.1\r\n%b%b\r\n" % (H, b"A: b\r\n" * 5000),
    "a header of 1 MB": b"GET / HTTP/1.1\r\n%bA: %b\r\n\r\n" % (H, b"b" * 1_000_000),
    "a target of 40 KB": b"GET /%b HTTP/1.1\r\n%b\r\n" % (b"a" * 40_000, H),
    "upgrade to TLS": b"OPTIONS * HTTP/1.1\r\n%bConnection: Upgrade\r\nUpgrade: TLS/1.0\r\n\r\n" % H,
}

# The classic pairs with the bytes of a second request inside: what one parser takes for a body is the other's request.
_INNER = b"GET /v1/models/inner HTTP/1.1\r\nHost: x\r\n\r\n"
_POST = b"POST /v1/chat/completions HTTP/1.1\r\n" + H
REFUSED |= {
    "CL.TE": b"%bContent-Length: %d\r\n%b\r\n0\r\n\r\n%b" % (_POST, 5 + len(_INNER), T, _INNER),
    "TE.CL": b"%bContent-Length: 4\r\n%b\r\n%x\r\n%b\r\n0\r\n\r\n" % (_POST, T, len(_INNER), _INNER),
    "TE.TE, second unknown": b"%b%bTransfer-Encoding: cow\r\n\r\n0\r\n\r\n%b" % (_POST, T, _INNER),
    "TE.TE, first unknown": b"%bTransfer-Encoding: cow\r\n%b\r\n0\r\n\r\n%b" % (_POST, T, _INNER),
    "TE.TE, other case": b"%b%btransfer-encoding: identity\r\n\r\n0\r\n\r\n%b" % (_POST, T, _INNER),
    "TE folded": b"%bTransfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n%b" % (_POST, _INNER),
    "TE after a bare LF": b"%bX-A: b\n%b\r\n0\r\n\r\n%b" % (_POST, T, _INNER),
    "TE after a bare CR": b"%bX-A: b\r%b\r\n0\r\n\r\n%b" % (_POST, T, _INNER),
    "TE named with a tab": b"%bTransfer-Encoding\t: chunked\r\n\r\n0\r\n\r\n%b" % (_POST, _INNER),
    "CL named with a blank": b"%bContent-Length : %d\r\n\r\n%b" % (_POST, len(_INNER), _INNER),
    "CL twice, first short": b"%bContent-Length: 0\r\nContent-Length: %d\r\n\r\n%b" % (_POST, len(_INNER), _INNER),
    "CL twice, first long": b"%bContent-Length: %d\r\nContent-Length: 0\r\n\r\n%b" % (_POST, len(_INNER), _INNER),
    "CL in a folded line": b"%bX-A: b\r\n Content-Length: %d\r\n\r\n%b" % (_POST, len(_INNER), _INNER),
    "TE in the Connection": b"%bConnection: Transfer-Encoding\r\nContent-Length: 0\r\n%b\r\n%b" % (_POST, T, _INNER),
    "host named with a blank": b"GET / HTTP/1.1\r\nHost : x\r\n\r\n",
    "second host folded": b"GET / HTTP/1.1\r\nHost: x\r\n Host: y\r\n\r\n",
    "upgrade with prior settings": b"GET / HTTP/1.1\r\n%bConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
    b"HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n\r\n" % H,
    "body over 20 MB, in chunks": b"%b%b\r\n1400001\r\n" % (_POST, T),
    "a fetch by way of us": b"GET gopher://x/_ HTTP/1.1\r\n%b\r\n" % H,
}

KEPT = {
    "authority that is not the host": (b"GET http://y/healthz HTTP/1.1\r\n%b\r\n" % H, 200),
    "absolute form of a page": (b"GET http://x/v1/frob HTTP/1.1\r\n%b\r\n" % H, 404),
    "encoded path": (b"GET /v1/%%6dodels HTTP/1.1\r\n%b\r\n" % H, 404),
    "path with dots": (b"GET /v1/../healthz HTTP/1.1\r\n%b\r\n" % H, 404),
    "path with two slashes": (b"GET /v1//models HTTP/1.1\r\n%b\r\n" % H, 404),
    "model with dots": (b"GET /v1/models/..%%2f..%%2fhealthz HTTP/1.1\r\n%b\r\n" % H, 401),
    "control bytes, encoded": (b"GET /v1/%%0d%%0aSet-Cookie:a=b HTTP/1.1\r\n%b\r\n" % H, 404),
    "query": (b"GET /healthz?a=%%00&b=http://y/ HTTP/1.1\r\n%b\r\n" % H, 200),
    "put": (b"PUT /healthz HTTP/1.1\r\n%bContent-Length: 2\r\n\r\n{}" % H, 405),
    "obs-text in a value": (b"GET /healthz HTTP/1.1\r\n%bX-A: \xe9\xff\r\n\r\n" % H, 200),
    "empty value": (b"GET /healthz HTTP/1.1\r\n%bX-A:\r\n\r\n" % H, 200),
    "no blank after the colon": (b"GET /healthz HTTP/1.1\r\nHost:x\r\n\r\n", 200),
    "empty host": (b"GET /healthz HTTP/1.1\r\nHost:\r\n\r\n", 200),
    "host with a port": (b"GET /healthz HTTP/1.1\r\nHost: [::1]:8000\r\n\r\n", 200),
    "length in the Connection": (
        b"GET /healthz HTTP/1.1\r\n%bConnection: Content-Length\r\nContent-Length: 2\r\n\r\n{}" % H,
        200,
    ),
    "length with zeros before it": (b"GET /healthz HTTP/1.1\r\n%bContent-Length: 0002\r\n\r\n{}" % H, 200),
    "TE of a client": (b"GET /healthz HTTP/1.1\r\n%bTE: trailers\r\nConnection: TE\r\n\r\n" % H, 200),
    "99 headers": (b"GET /healthz HTTP/1.1\r\n%b%b\r\n" % (H, b"A: b\r\n" * 99), 200),
    "coding in another case": (
        b"PATCH /page HTTP/1.1\r\n%bTransfer-Encoding: Chunked\r\n\r\n1;a=b\r\n{\r\n0\r\nA: b\r\n\r\n" % H,
        200,
    ),
    "no key": (b"GET /v1/models HTTP/1.1\r\n%b\r\n" % H, 401),
    "unknown url": (b"GET /v1/frob HTTP/1.1\r\n%b\r\n" % H, 404),
    "wrong method": (b"GET /v1/chat/completions HTTP/1.1\r\n%b\r\n" % H, 405),
    "delete": (b"DELETE /v1/models HTTP/1.1\r\n%b\r\n" % H, 405),
    "options": (b"OPTIONS /v1/models HTTP/1.1\r\n%b\r\n" % H, 405),
    "options *": (b"OPTIONS * HTTP/1.1\r\n%b\r\n" % H, 404),
    "health": (b"GET /healthz HTTP/1.1\r\n%b\r\n" % H, 200),
    "head": (b"HEAD /healthz HTTP/1.1\r\n%b\r\n" % H, 200),
    "absolute form": (b"GET http://x/healthz HTTP/1.1\r\n%b\r\n" % H, 200),
    "empty line first": (b"\r\nGET /healthz HTTP/1.1\r\n%b\r\n" % H, 200),
    "page": (b"GET /console HTTP/1.1\r\n%b\r\n" % H, 200),
    "basic auth": (b"GET /v1/models HTTP/1.1\r\n%bAuthorization: Basic YTpi\r\n\r\n" % H, 401),
    "key in cookie": (b"GET /v1/models HTTP/1.1\r\n%bCookie: key=ts_live_x\r\n\r\n" % H, 401),
    "refused body is read": (b"POST /v1/chat/completions HTTP/1.1\r\n%bContent-Length: 2\r\n\r\n{}" % H, 401),
    "blank after length": (b"GET /healthz HTTP/1.1\r\n%bContent-Length: 2 \r\n\r\n{}" % H, 200),
    "blanks before length": (b"GET /healthz HTTP/1.1\r\n%bContent-Length:  2\r\n\r\n{}" % H, 200),
    "tab before length": (b"GET /healthz HTTP/1.1\r\n%bContent-Length:\t2\r\n\r\n{}" % H, 200),
    "long key": (b"GET /v1/models HTTP/1.1\r\n%bAuthorization: Bearer %b\r\n\r\n" % (H, b"k" * 10_000), 401),
    "non-ASCII key": (b"GET /v1/models HTTP/1.1\r\n%bAuthorization: Bearer \xff\xfe\r\n\r\n" % H, 401),
}
