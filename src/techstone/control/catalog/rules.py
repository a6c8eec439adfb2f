"""What a provider, a model, a price and a plan may be: the same for the configuration file and for the Console.

Pure. Whoever asks says the mistake in words of their own place: a path in a file, a field of a form.
"""

from __future__ import annotations

import contextlib
import ipaddress
import re
from typing import TYPE_CHECKING, Protocol
from urllib.parse import parse_qsl, urlsplit

from techstone.core import money
from techstone.core.engines import ENGINES
from techstone.core.errors import InvalidRequest

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from urllib.parse import SplitResult

    from techstone.core.snapshot import ProviderKind, Timeouts

ENGINE = "engine"
LARGEST = 2**31 - 1
_LONGEST_URL = 2000
# A request looks at all of them (2 us each), and each is a series in the metrics.
MOST_REPLICAS = 64
_SET_BY_US = {"host", "content-length", "transfer-encoding", "connection", "authorization"}
# Names that only a network of one's own resolves (RFC 6761, RFC 8375, ICANN's .internal).
_PRIVATE_ENDS = (".localhost", ".local", ".internal", ".lan", ".home.arpa", ".test")

# Numbers from here on are not said again: they may have any number of digits.
_LEGIBLE = 10**15


class Wrong(Exception):
    """A value that may not be: `field` says which, the message what was expected."""

    def __init__(self, field: str, told: str) -> None:
        super().__init__(told)
        self.field = field


class Weighed(Protocol):
    """A route, as far as the rules look at it."""

    @property
    def weight(self) -> int:
        """Share of the requests among routes of the same priority."""

    @property
    def priority(self) -> int:
        """Lower is tried first."""


class Addressed(Protocol):
    """A replica, as far as the rules look at it."""

    @property
    def base_url(self) -> str:
        """Where it is."""

    @property
    def weight(self) -> int:
        """Share of the requests among a provider's replicas."""


def check_name(name: str) -> None:
    """Raise Wrong for what cannot be a provider's name."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", name):
        raise Wrong("name", "expected letters, digits, dots, dashes or underscores, at most 64")
    if name == ENGINE:
        raise Wrong("name", "`engine` is the built-in engine; choose another name")


def check_url(field: str, url: str, *, query: bool = False) -> SplitResult:
    """Return the parts of a URL; raise Wrong."""
    try:
        parts = urlsplit(url)
        valid = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        valid = False
    if not valid or re.search(r"[\x00-\x20\x7f-\uffff]", url):
        raise Wrong(field, "expected a URL such as https://api.example.com/v1")
    if parts.username is not None or parts.fragment or (parts.query and not query):
        raise Wrong(field, "a URL without user, query and fragment is expected; keys come from api_key_env")
    return parts


def check_replicas(replicas: Sequence[Addressed]) -> None:
    """Raise Wrong for servers that a provider cannot be; none is none of several, which is good."""
    if len(replicas) > MOST_REPLICAS:
        raise Wrong("replicas", f"expected at most {MOST_REPLICAS}")
    addresses: list[str] = []
    for place, replica in enumerate(replicas):
        check_url(f"replicas[{place}].base_url", replica.base_url, query=True)
        check_range(f"replicas[{place}].weight", replica.weight, 1, 1000)
        if replica.base_url in addresses:
            raise Wrong(f"replicas[{place}].base_url", "this address is there already; a larger share is a weight")
        addresses.append(replica.base_url)


def check_metrics_port(kind: ProviderKind, port: int | None) -> None:
    """Raise Wrong for what is no port, or is one of what tells nothing there."""
    if port is not None:
        check_range("metrics_port", port, 1, 65_535)
        if kind not in ENGINES:
            raise Wrong("metrics_port", "only engines tell their load; set kind")


def check_headers(headers: Mapping[str, str]) -> None:
    """Raise Wrong for headers that cannot be sent, or that we set."""
    for name, value in headers.items():
        # RFC 9110 section 5.6.2 (token) and 5.5 (value): anything else could end the head.
        if not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name) or not re.fullmatch(r"[\x20-\x7e]*", value):
            raise Wrong("headers", f"`{name}` is no header that HTTP allows")
        if name.lower() in _SET_BY_US:
            raise Wrong("headers", f"`{name}` is set by the gateway itself; keys come from api_key_env")


def check_timeouts(timeouts: Timeouts) -> None:
    """Raise Wrong for a time-out that is none."""
    for field in timeouts.__struct_fields__:
        if not 0 < getattr(timeouts, field) <= 86_400:
            raise Wrong(f"timeouts.{field}", "expected seconds, more than 0 and at most 86400")


def check_model(
    name: str, routes: Sequence[Weighed], context_window: int | None, max_output_tokens: int | None
) -> None:
    """Raise Wrong for a model that cannot be offered."""
    if not re.fullmatch(r"[\x21-\x7e]{1,200}", name):
        raise Wrong("name", "expected 1 to 200 visible ASCII characters")
    if not routes:
        raise Wrong("routes", "expected at least one route")
    for place, route in enumerate(routes):
        check_range(f"routes[{place}].weight", route.weight, 0, 1_000_000)
    for field, tokens in (("context_window", context_window), ("max_output_tokens", max_output_tokens)):
        if tokens is not None:
            check_range(field, tokens, 1, LARGEST)


def check_price(field: str, usd: str | None) -> None:
    """Raise Wrong for what is no price."""
    try:
        if usd is not None:
            money.parse(usd)
    except ValueError as error:
        raise Wrong(field, str(error)) from error


def check_plan(rpm: int | None, tpm: int | None, concurrent: int | None) -> None:
    """Raise Wrong for a limit that is none."""
    for field, limit in (("rpm", rpm), ("tpm", tpm), ("concurrent", concurrent)):
        if limit is not None:
            check_range(field, limit, 1, LARGEST)


def check_upstream_name(field: str, name: str) -> None:
    """Raise Wrong for what cannot be a model's name at a provider."""
    if not re.fullmatch(r"[\x21-\x7e]{1,200}", name):
        raise Wrong(field, "expected 1 to 200 visible ASCII characters, the model's name there")


def check_plan_name(name: str) -> None:
    """Raise Wrong for what cannot be a plan's name."""
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,63}", name):
        raise Wrong("name", "expected lower-case letters, digits and dashes, at most 64")


def check_range(field: str, value: float, least: int, most: int) -> None:
    """Raise Wrong for a number that is out of range."""
    if not least <= value <= most:
        found = f", found {value:g}" if abs(value) < _LEGIBLE else ""
        raise Wrong(field, f"expected {least} to {most}{found}")


def check_stored_url(url: str, *, private: bool, field: str = "base_url") -> None:
    """Raise Wrong for an address that may stand in the file, but may not be typed into a page.

    A page can be reached by a stolen session, the file cannot. So nothing is read from the environment, no secret
    stands in the address, and it leads to the own network only where the file allows that (`private`).
    """
    if "${" in url:
        raise Wrong(field, "an address from the environment can stand in the configuration file alone")
    if len(url) > _LONGEST_URL:
        raise Wrong(field, f"expected at most {_LONGEST_URL} characters")
    parts = check_url(field, url, query=True)
    if any(name != "api-version" for name, _ in parse_qsl(parts.query, keep_blank_values=True)):
        raise Wrong(field, "a query may hold api-version alone; a key belongs into the field for it")
    host = parts.hostname or ""
    if _is_link_local(host):
        raise Wrong(field, "addresses of the link itself, such as 169.254.169.254, are never asked")
    if not private and (parts.scheme == "http" or _is_private(host)):
        raise Wrong(
            field,
            "expected https:// and a host on the internet. For a server of your own write private_providers = true "
            "under [console] in the configuration file, and restart",
        )


def _is_link_local(host: str) -> bool:
    address = _read_address(host)
    return address is not None and (address.is_link_local or address.is_multicast or address.is_unspecified)


def _is_private(host: str) -> bool:
    """Say whether a host is of the own machine or network, as far as its name tells.

    A public name may lead into the own network, too; but there its certificate must be good for that name.
    """
    address = _read_address(host)
    if address is None:
        return "." not in host or host.rstrip(".").lower().endswith(_PRIVATE_ENDS)
    return not address.is_global


def _read_address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        # What resolvers take for an address, too: 2130706433, 0x7f.1 (inet_aton(3)).
        if re.fullmatch(r"(0x[0-9a-f]*|[0-9]+)(\.(0x[0-9a-f]*|[0-9]+))*\.?", host.lower()):
            return ipaddress.IPv4Address("127.0.0.1")
        return None
    mapped = getattr(address, "ipv4_mapped", None)
    return mapped or address


@contextlib.contextmanager
def told() -> Iterator[None]:
    """Tell a value that may not be as a request's field."""
    try:
        yield
    except Wrong as wrong:
        raise InvalidRequest(f"{wrong.field}: {wrong}.", param=wrong.field) from wrong
