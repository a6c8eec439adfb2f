"""What a provider's answer to a trial means: what happened, and what to do about it. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from techstone.control.catalog.records import Outcome, ServerTried, TrialShown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from techstone.control.catalog.ports import Asked

_MOST_MODELS = 2000
_LONGEST_NAME = 200
# Of the models that a server lacks so many are named.
_MOST_LACKING = 20


class _Model(msgspec.Struct):
    id: str


class _List(msgspec.Struct):
    data: list[_Model]


class _Detail(msgspec.Struct):
    message: str


class _Error(msgspec.Struct):
    error: _Detail | str


_LIST = msgspec.json.Decoder(_List)
_ERROR = msgspec.json.Decoder(_Error)

_UNREACHED = {
    "gaierror": ("Its name cannot be resolved.", "Check the host of the base URL, and the DNS of this machine."),
    "ConnectionRefusedError": (
        "The connection was refused.",
        "Nothing listens at that host and port. Check both, and whether the server runs.",
    ),
    "SSLCertVerificationError": (
        "Its TLS certificate is not trusted.",
        "Check the host, or have this machine trust the authority that signed the certificate.",
    ),
    "SSLError": ("TLS failed.", "Check whether that port speaks TLS: https:// where it does, http:// where not."),
    "ProxyRefused": ("The proxy refused the connection.", "Check HTTPS_PROXY and NO_PROXY of the service."),
}
_BY_KIND = {
    "connect": ("It cannot be reached.", "Check the host and port, and the network between."),
    "timeout": ("It did not answer in time.", "Check the host and port, and whether a firewall drops the connection."),
    "reset": ("It closed the connection before its answer was whole.", "Check whether that port speaks HTTP."),
    "protocol": ("What it answers is no HTTP that can be trusted.", "Check the port, and http:// against https://."),
    "too_large": ("Its answer is larger than what is read.", "Check the base URL."),
}
_BY_STATUS = {
    401: ("The key was refused.", "Type the provider's key anew; check that it is one of this provider."),
    402: ("The provider wants to be paid first.", "Add credit there."),
    403: ("The key may not do this.", "Check the key's permissions at the provider."),
    404: ("There is no such path.", "Check the base URL: it usually ends in /v1."),
    405: ("The path is there, but not for this.", "Check the base URL: it usually ends in /v1."),
    429: ("The provider's own limit is reached.", "Wait, or raise the limit or the credit there."),
}

# Some answer with 400 or 404 to who shows no key.
_WANTING_A_KEY = frozenset((400, 401, 403, 404))
_UNTRIED = "Its key was not tried: it is in the environment of the gateways alone."
_ASK = "Ask one of its models in the Playground: that tries the key, too."


class Tried(msgspec.Struct, frozen=True):
    """What one server came to, and the models that it told."""

    shown: ServerTried
    models: tuple[str, ...]


def judge(address: str, listed: Asked, chat: Asked | None) -> Tried:
    """Return how one server did."""
    told = judge_listing(listed)
    return Tried(ServerTried(address, told, None if chat is None else judge_chat(chat)), read_models(listed))


def sum_up(provider: str, tried: Sequence[Tried]) -> TrialShown:
    """Return what a trial of all servers came to; there is at least one.

    A model is the provider's where every server has it that told any: a request may come to each of them.
    """
    telling = [set(one.models) for one in tried if one.models]
    known = set().union(*telling)
    common = set.intersection(*telling) if telling else set()
    servers = tuple(
        msgspec.structs.replace(one.shown, lacking=tuple(sorted(known.difference(one.models))[:_MOST_LACKING]))
        if one.shown.listing.good and one.shown.listing.status == 200
        else one.shown
        for one in tried
    )
    chats = [one.chat for one in servers if one.chat is not None]
    return TrialShown(
        provider,
        not any(one.address.startswith("http://") for one in servers),
        next((one.listing for one in servers if not one.listing.good), servers[0].listing),
        tuple(sorted(common)),
        next((chat for chat in chats if not chat.good), chats[0] if chats else None),
        servers if len(servers) > 1 else (),
    )


def judge_listing(asked: Asked) -> Outcome:
    """Return how asking for the models ended; of a provider that wants no key for that, that its key was not tried."""
    outcome = _judge_listing(asked)
    if not asked.keyless or asked.status != 200 or not outcome.good:
        return outcome
    return msgspec.structs.replace(outcome, told=f"{outcome.told} {_UNTRIED}", remedy=outcome.remedy or _ASK)


def _judge_listing(asked: Asked) -> Outcome:
    if asked.failure is None and asked.status == 200:
        found = read_models(asked)
        if found:
            return _say(
                asked, f"It answered with {len(found)} {'model' if len(found) == 1 else 'models'}.", "", good=True
            )
        if _read(asked) is not None:
            remedy = "Load a model there first; or name one under Models all the same."
            return _say(asked, "It answered with no models.", remedy, good=True)
        return _say(
            asked,
            "It answered, but with no list of models in OpenAI's format.",
            "Check the base URL: it usually ends in /v1.",
        )
    return _judge_failure(asked)


def judge_chat(asked: Asked) -> Outcome:
    """Return how asking for one token ended."""
    if asked.failure is None and asked.status == 200:
        return _say(asked, "It answered a chat of one token.", "", good=True)
    if asked.failure is None and asked.status == 404 and not asked.keyless:
        return _say(asked, "There is no such model, or no chat at this address.", "Check the model's name there.")
    return _judge_failure(asked)


def read_models(asked: Asked) -> tuple[str, ...]:
    """Return the names that a provider told, those that can be asked for."""
    listed = _read(asked) if asked.failure is None and asked.status == 200 else None
    if listed is None:
        return ()
    names = (model.id for model in listed.data[:_MOST_MODELS])
    good = (name for name in names if 0 < len(name) <= _LONGEST_NAME and name.isascii() and name.isprintable())
    return tuple(sorted({name for name in good if " " not in name}))


def _read(asked: Asked) -> _List | None:
    try:
        return _LIST.decode(asked.body)
    except msgspec.MsgspecError:
        return None


def _judge_failure(asked: Asked) -> Outcome:
    if asked.keyless and asked.status in _WANTING_A_KEY:
        remedy = _ASK if asked.status in {401, 403} else f"{_ASK} Or the base URL is wrong: it usually ends in /v1."
        return _say(asked, f"It was reached. {_UNTRIED}", remedy, good=True)
    if asked.failure is not None:
        told, remedy = _UNREACHED.get(asked.detail) or _BY_KIND.get(asked.failure, _BY_KIND["connect"])
        return Outcome(good=False, reached=False, status=None, told=told, remedy=remedy, milliseconds=_count(asked))
    if asked.status in _BY_STATUS:
        return _say(asked, *_BY_STATUS[asked.status])
    if 300 <= asked.status < 400:
        return _say(asked, "It answered with a redirect, which is never followed.", "Use the address that it leads to.")
    if asked.status < 500:
        return _say(asked, f"The request was refused{_quote(asked)}", "Check the model's name and the base URL.")
    return _say(
        asked, f"The provider failed{_quote(asked)}", "Try again later; the provider's status page may say more."
    )


def _quote(asked: Asked) -> str:
    """Return the provider's own words, in short."""
    try:
        found = _ERROR.decode(asked.body).error
    except msgspec.MsgspecError:
        return "."
    text = " ".join((found if isinstance(found, str) else found.message).split())[:_LONGEST_NAME]
    return f": {text.rstrip('.')}." if text else "."


def _say(asked: Asked, told: str, remedy: str, *, good: bool = False) -> Outcome:
    return Outcome(good, True, asked.status, told, remedy, _count(asked))


def _count(asked: Asked) -> int:
    return round(asked.seconds * 1000)
