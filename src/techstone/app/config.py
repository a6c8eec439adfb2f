"""The configuration: one TOML file, read strictly into the structs of `app.sections`.

Every mistake is told with the path of the key, what was expected and what to do; nothing is guessed.
"""

from __future__ import annotations

import contextlib
import ipaddress
import re
import tomllib
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import msgspec

from techstone.adapters.storage import target
from techstone.app.sections import SQLITE, Config
from techstone.control.catalog import rules
from techstone.core import money

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from techstone.app.sections import (
        ControlSection,
        DataSection,
        MailSection,
        ModelEntry,
        OidcEntry,
        ProviderEntry,
        ServerSection,
    )


class ConfigError(Exception):
    """One line for the operator: which key, what was expected, what to do."""


_LAST_PORT = 65_535


def read(path: Path) -> Config:
    """Return the configuration of a file; raise ConfigError."""
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from error
    try:
        return parse(text)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error


def parse(text: str) -> Config:
    """Return the configuration that a TOML text holds; raise ConfigError."""
    try:
        config = msgspec.convert(tomllib.loads(text), Config)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"not TOML: {error}") from error
    except msgspec.ValidationError as error:
        raise ConfigError(_explain(str(error))) from error
    check(config)
    return config


_UNKNOWN = re.compile(r"Object contains unknown field `(?P<name>.*?)`(?: - at `\$\.?(?P<path>.*?)`)?$")
_MISSING = re.compile(r"Object missing required field `(?P<name>.*?)`(?: - at `\$\.?(?P<path>.*?)`)?$")
_WRONG = re.compile(r"(?P<what>.*?) - at `\$\.?(?P<path>.*?)`$")


def _explain(message: str) -> str:
    """Return msgspec's message in the words of a person who edits a file."""
    if found := _UNKNOWN.match(message):
        return f"{_join(found)}: unknown key; techstone.example.toml lists every key"
    if found := _MISSING.match(message):
        return f"{_join(found)}: missing, and there is no default for it"
    if found := _WRONG.match(message):
        return f"{found['path']}: {found['what'][:1].lower()}{found['what'][1:]}"
    return message


def _join(found: re.Match[str]) -> str:
    return f"{found['path']}.{found['name']}" if found["path"] else found["name"]


def _check_database(data: DataSection) -> None:
    if data.database == SQLITE:
        return
    try:
        target.parse(data.database)
    except ValueError as error:
        raise ConfigError(f"data.database: {error}") from error


def check(config: Config) -> None:
    """Raise ConfigError where values are out of range or contradict each other."""
    _check_server(config.server)
    _check_database(config.data)
    _check_limits(config.data)
    _check_workers(config)
    _check_control(config.control)
    if config.engine.parallel is not None:
        _check_range("engine.parallel", config.engine.parallel, 1, 256)
    _check_range("engine.context", config.engine.context, 256, 10_000_000)
    if config.engine.threads is not None:
        _check_range("engine.threads", config.engine.threads, 1, 1024)
    for place, provider in enumerate(config.providers):
        _check_provider(f"providers[{place}]", provider)
    _check_unique("providers", [provider.name for provider in config.providers])
    for place, model in enumerate(config.models):
        _check_model(f"models[{place}]", model)
    _check_unique("models", [model.name for model in config.models])
    _check_mail(config.mail)
    for place, entry in enumerate(config.oidc):
        _check_oidc(f"oidc[{place}]", entry)
    _check_unique("oidc", [entry.slug for entry in config.oidc])
    _check_payments(config)
    for name, plan in config.plans.items():
        with _at(f"plans.{name}"):
            rules.check_plan(plan.rpm, plan.tpm, plan.concurrent)


def _check_limits(data: DataSection) -> None:
    _check_range("data.limits_patience", data.limits_patience, 0.01, 10)
    _check_range("data.limits_answers", data.limits_answers, 1, 65_536)
    if data.limits == "memory":
        return
    try:
        parts = urlsplit(data.limits)
        valid = parts.scheme in {"redis", "rediss"} and bool(parts.hostname) and parts.port != 0
        valid = valid and not parts.query and not parts.fragment and bool(re.fullmatch(r"/?|/[0-9]{1,4}", parts.path))
    except ValueError:
        valid = False
    if not valid:
        raise ConfigError('data.limits: expected "memory", redis://host:port/db or rediss://user@host:port/db')
    if parts.password is not None:
        raise ConfigError("data.limits: a password stands in it; name its environment variable in limits_password_env")
    if parts.username and data.limits_password_env is None:
        # It would be left out, and the gateway be Redis's default user, who may do everything.
        raise ConfigError(
            f"data.limits: it names the user {parts.username}, who needs a password; name its environment variable in "
            "limits_password_env"
        )
    if data.limits_ca is not None and parts.scheme != "rediss":
        raise ConfigError("data.limits_ca: it is for an address that begins with rediss://")


def _check_server(server: ServerSection) -> None:
    _check_range("server.port", server.port, 0, _LAST_PORT)
    _check_range("server.workers", server.workers, 1, 256)
    _check_range("server.drain", server.drain, 0, 3600)
    if (server.tls_cert is None) != (server.tls_key is None):
        raise ConfigError("server.tls_cert and server.tls_key: give both or neither")
    for place, proxy in enumerate(server.trusted_proxies):
        try:
            ipaddress.ip_network(proxy)
        except ValueError as error:
            raise ConfigError(f"server.trusted_proxies[{place}]: {error}") from error
    if server.public_url is not None:
        _check_url("server.public_url", server.public_url)


def _check_workers(config: Config) -> None:
    workers = config.server.workers
    if workers > 1 and config.data.limits == "memory":
        raise ConfigError(
            f"server.workers: limits kept in memory belong to one process, and {workers} would give every plan "
            f'{workers} times. Set data.limits = "redis://host:6379/0", or server.workers = 1 (one process serves '
            "thousands of requests a second)"
        )
    if config.server.metrics is not None:
        read_metrics(config.server, workers)


def read_metrics(server: ServerSection, worker: int) -> tuple[str, int] | None:
    """Return host and port of a worker's own metrics, None where it has none; raise ConfigError."""
    if server.metrics is None:
        return None
    try:
        parts = urlsplit(f"//{server.metrics}")
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    if not (host and port) or parts.path or parts.query or parts.username is not None:
        raise ConfigError("server.metrics: expected a host and port such as 127.0.0.1:9100")
    if port + worker - 1 > _LAST_PORT:
        raise ConfigError(f"server.metrics: worker {worker} would have port {port + worker - 1}; begin lower")
    return host, port + worker - 1


def _check_control(control: ControlSection) -> None:
    if (control.tls_cert is None) != (control.tls_key is None):
        raise ConfigError("control.tls_cert and control.tls_key: give both or neither")
    for name in ("serve_without_database", "serve_without_control"):
        seconds = getattr(control, name)
        if seconds is not None and seconds < 0:
            raise ConfigError(f"control.{name}: expected seconds, 0 or more")
    for path, url in (
        *([("control.listen", f"//{control.listen}")] if control.listen is not None else []),
        *((f"control.addresses[{place}]", url) for place, url in enumerate(control.addresses)),
    ):
        try:
            parts = urlsplit(url)
            whole = bool(parts.hostname) and parts.port != 0 and not (parts.path.strip("/") or parts.query)
            valid = whole and parts.username is None and parts.scheme in ({""} if url[:2] == "//" else _SCHEMES)
        except ValueError:
            valid = False
        if not valid:
            wanted = (
                "a host and port such as 10.0.0.5:8100" if url[:2] == "//" else "a URL such as https://control:8100"
            )
            raise ConfigError(f"{path}: expected {wanted}")
    _check_control_tls(control)


def _check_control_tls(control: ControlSection) -> None:
    """Refuse what would be read and then not used: who gives an authority believes that others are kept out."""
    if control.listen is not None and control.tls_ca is not None and control.tls_cert is None:
        raise ConfigError(
            "control.tls_ca: gateways would not be asked for a certificate without TLS. Give control.tls_cert and "
            "control.tls_key, too"
        )
    given = [name for name in ("tls_ca", "tls_cert") if getattr(control, name) is not None]
    for place, address in enumerate(control.addresses):
        if given and urlsplit(address).scheme == "http":
            raise ConfigError(
                f"control.addresses[{place}]: {address} leads there without TLS, and control.{given[0]} would not be "
                "looked at. Say https"
            )


def _check_mail(mail: MailSection) -> None:
    if not re.fullmatch(r"[^\s@<>]+@[^\s@<>]+|[^<>@\r\n]+ <[^\s@<>]+@[^\s@<>]+>", mail.sender):
        raise ConfigError("mail.sender: expected an address such as cloud@example.com or Cloud <cloud@example.com>")
    if mail.smtp is None:
        return
    try:
        parts = urlsplit(mail.smtp)
        valid = parts.scheme in {"smtp", "smtps"} and bool(parts.hostname) and parts.port != 0 and not parts.path
    except ValueError:
        valid = False
    if not valid or parts.password is not None:
        raise ConfigError(
            "mail.smtp: expected smtps://user@host or smtp://host:port; the password comes from password_env"
        )


def _check_oidc(path: str, entry: OidcEntry) -> None:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9 ._-]{0,39}", entry.name):
        raise ConfigError(f"{path}.name: expected letters, digits, spaces, dots, dashes or underscores, at most 40")
    _check_url(f"{path}.issuer", entry.issuer)
    parts = urlsplit(entry.issuer)
    if parts.scheme != "https" and not is_loopback(parts.hostname or ""):
        raise ConfigError(f"{path}.issuer: expected https; plain http is for this machine alone")
    for field, value in (("client_id", entry.client_id), ("client_secret_env", entry.client_secret_env)):
        if not value:
            raise ConfigError(f"{path}.{field}: expected what the provider gave you at the registration")
    for domain in entry.allowed_domains:
        if not re.fullmatch(r"[a-z0-9-]+(\.[a-z0-9-]+)+", domain):
            raise ConfigError(f"{path}.allowed_domains: expected domains in lower case such as example.com")


def is_loopback(host: str) -> bool:
    """Say whether a host is this machine."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


_SCHEMES = {"http", "https"}
_STRIPE_LEAST, _STRIPE_MOST = 50, 99_999_999


def _check_payments(config: Config) -> None:
    payments = config.payments
    if config.billing.seller is not None and not config.billing.seller.name.strip():
        raise ConfigError("billing.seller.name: expected the name that stands on invoices")
    least, most = (read_cents(f"payments.{name}", getattr(payments, name)) for name in ("minimum", "maximum"))
    # What Stripe takes of USD: https://docs.stripe.com/currencies#minimum-and-maximum-charge-amounts
    if not _STRIPE_LEAST <= least <= most <= _STRIPE_MOST:
        raise ConfigError(
            "payments.minimum and payments.maximum: expected 0.50 to 999999.99 USD, the smaller one first"
        )
    for place, usd in enumerate(payments.amounts):
        if not least <= read_cents(f"payments.amounts[{place}]", usd) <= most:
            raise ConfigError(f"payments.amounts[{place}]: expected {payments.minimum} to {payments.maximum}")
    if (payments.stripe_key_env is None) != (payments.stripe_webhook_secret_env is None):
        raise ConfigError("payments.stripe_key_env and payments.stripe_webhook_secret_env: give both or neither")
    if payments.stripe_key_env is not None and config.billing.seller is None:
        raise ConfigError("billing.seller: missing; every payment has a receipt, and a receipt needs a seller")
    if payments.stripe_api_base is not None:
        _check_url("payments.stripe_api_base", payments.stripe_api_base)
        if urlsplit(payments.stripe_api_base).hostname not in {"127.0.0.1", "::1"}:
            raise ConfigError("payments.stripe_api_base: only 127.0.0.1 or ::1, for tests; leave it out for Stripe")


def read_cents(path: str, usd: str) -> int:
    """Return an amount in USD as cents; raise ConfigError."""
    try:
        cents, part = divmod(money.parse(usd), money.NANO // 100)
    except ValueError as error:
        raise ConfigError(f"{path}: {error}") from error
    if part:
        raise ConfigError(f"{path}: expected whole cents, such as 12.50")
    return cents


def _check_provider(path: str, provider: ProviderEntry) -> None:
    with _at(path):
        rules.check_name(provider.name)
        if provider.base_url is None and not provider.replicas:
            raise rules.Wrong("base_url", "missing, and there is no default for it; several addresses are `replicas`")
        if provider.base_url is not None and provider.replicas:
            raise rules.Wrong("base_url", "expected one address here, or several as `replicas`, not both")
        if provider.base_url is not None:
            rules.check_url("base_url", provider.base_url, query=True)  # Azure's has an api-version
        rules.check_replicas(provider.replicas)
        rules.check_metrics_port(provider.kind, provider.metrics_port)
        rules.check_headers(provider.headers)
        rules.check_timeouts(provider.timeouts)


def _check_model(path: str, model: ModelEntry) -> None:
    with _at(path):
        rules.check_model(model.name, model.routes, model.context_window, model.max_output_tokens)
        if model.price is not None:
            for field in model.price.__struct_fields__:
                rules.check_price(f"price.{field}", getattr(model.price, field))


def _check_url(path: str, url: str) -> None:
    section, _, key = path.partition(".")
    with _at(section):
        rules.check_url(key, url)


@contextlib.contextmanager
def _at(path: str) -> Iterator[None]:
    """Tell a value that may not be by its path in the file."""
    try:
        yield
    except rules.Wrong as wrong:
        raise ConfigError(f"{path}.{wrong.field}: {wrong}") from wrong


def _check_range(path: str, value: float, least: float, most: float) -> None:
    if not least <= value <= most:
        raise ConfigError(f"{path}: expected {least} to {most}, found {value:g}")


def _check_unique(path: str, names: list[str]) -> None:
    for place, name in enumerate(names):
        if name in names[:place]:
            raise ConfigError(f"{path}[{place}].name: `{name}` is there already")
