"""What may be done with providers: list, add, change, switch, remove, try. Knows no HTTP and no database.

A secret comes in, is sealed for its provider and all addresses of it, and never goes out again; what is shown says how
it ends.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

import msgspec

from techstone.control.acts import acting
from techstone.control.catalog import rules, trials
from techstone.control.catalog.merging import tell_provider
from techstone.control.catalog.ports import InUse
from techstone.control.catalog.records import ProviderShown, StoredProvider
from techstone.control.ports import Taken
from techstone.core.errors import InvalidRequest
from techstone.core.sealing import Unsealable, name_context
from techstone.core.snapshot import Replica

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from techstone.control.catalog.ports import CatalogStore, Means, Prober
    from techstone.control.catalog.records import EntryState, NewProvider, ProviderChange, Trial, TrialShown
    from techstone.control.catalog.service import Offers
    from techstone.control.ports import Clock
    from techstone.core.snapshot import Provider, Routing

_LONGEST_SECRET = 2000
# Of a shorter one four characters would be too much of it.
_SHOWN_FROM = 16


class Providers:
    """Those of the configuration, which can be switched off, and those that operators add."""

    def __init__(
        self, store: CatalogStore, offers: Offers, means: Means, note: Callable[[], Awaitable[None]], clock: Clock
    ) -> None:
        self._store = store
        self._offers = offers
        self._means = means
        self._note = note
        self._clock = clock

    @property
    def private(self) -> bool:
        """Whether the file allows addresses of the own network."""
        return self._means.private

    async def list(self) -> tuple[ProviderShown, ...]:
        """Return all, those of the configuration first."""
        await self._offers.refresh()
        stored, configured = self._offers.stored, self._offers.configured
        taken = {provider.name for provider in configured.providers}
        shown = [self._show_configured(provider) for provider in configured.providers]
        for added in stored.providers:
            state = "hidden" if added.name in taken else self._read_state(added.name)
            shown.append(_show(added, state, self._list_models(added.name)))
        return tuple(shown)

    async def show(self, name: str) -> ProviderShown:
        """Return one; raise InvalidRequest."""
        for provider in await self.list():
            if provider.name == name:
                return provider
        raise InvalidRequest(f"There is no provider `{name}`.", param="name")

    def _show_configured(self, provider: Provider) -> ProviderShown:
        key = f"from {provider.api_key_env}" if provider.api_key_env else None
        return ProviderShown(
            name=provider.name,
            kind=provider.kind,
            base_url=provider.base_url,
            origin="configuration file",
            state=self._read_state(provider.name),
            secret=key,
            models=self._list_models(provider.name),
            timeouts=provider.timeouts,
            replicas=provider.replicas,
            routing=cast("Routing | None", provider.routing),  # as the file has it, where no other may stand
            metrics_port=provider.metrics_port,
        )

    def _read_state(self, name: str) -> EntryState:
        return "off" if ("provider", name) in self._offers.stored.off else "on"

    def _list_models(self, provider: str) -> tuple[str, ...]:
        configured, stored = self._offers.configured.models, self._offers.stored.models
        routed = [(model.name, model.routes) for model in configured] + [(model.name, model.routes) for model in stored]
        found = (name for name, routes in routed if any(route.provider == provider for route in routes))
        return tuple(dict.fromkeys(found))

    async def create(self, wanted: NewProvider) -> ProviderShown:
        """Add one; its name and addresses must be good, and its name nobody's."""
        with rules.told():
            rules.check_name(wanted.name)
            url, replicas = self._place(wanted.base_url, wanted.replicas)
            rules.check_metrics_port(wanted.kind, wanted.metrics_port)
            rules.check_timeouts(wanted.timeouts)
        if any(provider.name == wanted.name for provider in self._offers.configured.providers):
            raise InvalidRequest(
                f"name: `{wanted.name}` comes from the configuration file; choose another name.", param="name"
            )
        provider = StoredProvider(
            wanted.name,
            url,
            timeouts=wanted.timeouts,
            created_at=self._clock(),
            kind=wanted.kind,
            replicas=replicas,
            routing=wanted.routing,
            metrics_port=wanted.metrics_port,
        )
        provider = self._seal(provider, wanted.secret)
        told: dict[str, object] = {
            "servers" if replicas else "base_url": _list_servers(provider),
            "kind": provider.kind,
            "routing": provider.routing,
            "metrics_port": provider.metrics_port,
            "secret": "set" if provider.secret else "none",
        }
        with acting("provider.create", provider.name, None, **told):
            try:
                await self._store.put_provider(provider, fresh=True)
            except Taken as taken:
                raise InvalidRequest(f"name: there is a provider `{wanted.name}` already.", param="name") from taken
        return await self.show(provider.name)

    async def change(self, wanted: ProviderChange) -> ProviderShown:
        """Change one that was added; any other set of addresses drops its secret."""
        old = await self._find(wanted.name)
        with rules.told():
            provider = self._revise(old, wanted)
        changed = _list_changes(old, provider)
        if old.secret is not None and set(provider.addresses) != set(old.addresses):
            # What was meant for some hosts is never sent to another: it has to be typed again.
            provider = msgspec.structs.replace(provider, secret=None, ending="")
            changed["secret"] = "dropped with the address"  # noqa: S105 - says that there is none
        if wanted.secret is not None:
            provider = self._seal(msgspec.structs.replace(provider, secret=None, ending=""), wanted.secret)
            changed["secret"] = "set" if provider.secret else "removed"
        if changed:
            with acting("provider.change", provider.name, None, **changed):
                await self._store.put_provider(provider, fresh=False)
        return await self.show(provider.name)

    def _revise(self, old: StoredProvider, wanted: ProviderChange) -> StoredProvider:
        """Return it with all changes but those of its secret; raise Wrong."""
        url, replicas = old.base_url, old.replicas
        if wanted.base_url is not None or wanted.replicas is not None:
            url, replicas = self._place(wanted.base_url, wanted.replicas or ())
        provider = msgspec.structs.replace(
            old,
            base_url=url,
            replicas=replicas,
            kind=wanted.kind or old.kind,
            routing=old.routing if wanted.routing is None else wanted.routing or None,
            metrics_port=old.metrics_port if wanted.metrics_port is None else wanted.metrics_port or None,
            timeouts=wanted.timeouts or old.timeouts,
        )
        rules.check_metrics_port(provider.kind, provider.metrics_port)
        rules.check_timeouts(provider.timeouts)
        return provider

    def _place(self, base_url: str | None, replicas: Sequence[Replica]) -> tuple[str, tuple[Replica, ...]]:
        """Return the first address, and all servers where there are several; raise Wrong."""
        private = self._means.private
        if base_url is not None and replicas:
            raise rules.Wrong("base_url", "expected one address here, or several as `replicas`, not both")
        if base_url is not None:
            rules.check_stored_url(url := base_url.strip(), private=private)
            return url, ()
        if not replicas:
            raise rules.Wrong("base_url", "expected an address here, or several as `replicas`")
        servers = tuple(Replica(one.base_url.strip(), one.weight) for one in replicas)
        for place, one in enumerate(servers):
            rules.check_stored_url(one.base_url, private=private, field=f"replicas[{place}].base_url")
        rules.check_replicas(servers)
        return servers[0].base_url, servers if len(servers) > 1 else ()

    async def switch(self, name: str, *, on: bool) -> ProviderShown:
        """Switch one on or off, also one of the configuration; requests that run are not touched."""
        await self.show(name)
        with acting("provider.switch_on" if on else "provider.switch_off", name):
            await self._store.switch("provider", name, on=on)
        return await self.show(name)

    async def remove(self, name: str) -> ProviderShown:
        """Forget one that was added, with its secret, once no model has a route to it."""
        await self._find(name)
        shown = await self.show(name)
        try:
            with acting("provider.remove", name):
                await self._store.remove_provider(name)
        except InUse as use:
            raise InvalidRequest(
                f"`{name}` is used by {', '.join(use.by)}. Take it out of their routes first.", param="name"
            ) from use
        await self._offers.refresh()
        return shown

    async def test(self, wanted: Trial) -> TrialShown:
        """Ask each of its servers for models, and for one token where a model is named; off the way of any request."""
        prober = self._means.prober
        if prober is None:
            raise InvalidRequest("A provider cannot be tried here.")
        provider = await self._tell(wanted.name)
        with acting("provider.test", wanted.name, model=wanted.model):
            await self._note()
        try:
            tried = await asyncio.gather(
                *(_try(prober, provider, server.base_url, wanted.model) for server in provider.servers)
            )
        except Unsealable as error:
            raise InvalidRequest(f"The secret cannot be opened: {error}. Type it again.", param="secret") from error
        return trials.sum_up(provider.name, tried)

    async def _tell(self, name: str) -> Provider:
        """Return a provider as the gateways know it, also one that is off."""
        await self._offers.refresh()
        for provider in self._offers.configured.providers:
            if provider.name == name:
                return provider
        return tell_provider(await self._find(name))

    async def _find(self, name: str) -> StoredProvider:
        await self._offers.refresh()
        for provider in self._offers.stored.providers:
            if provider.name == name:
                return provider
        if any(provider.name == name for provider in self._offers.configured.providers):
            raise InvalidRequest(
                f"`{name}` comes from the configuration file. It can be switched off here, and changed there.",
                param="name",
            )
        raise InvalidRequest(f"There is no provider `{name}`.", param="name")

    def _seal(self, provider: StoredProvider, secret: str | None) -> StoredProvider:
        secret = (secret or "").strip()
        if not secret:
            return provider
        # It becomes a header's value: anything else could end the head.
        if len(secret) > _LONGEST_SECRET or not secret.isascii() or not secret.isprintable() or " " in secret:
            raise InvalidRequest(
                f"secret: expected at most {_LONGEST_SECRET} visible ASCII characters without a space.", param="secret"
            )
        if self._means.sealer is None:
            raise InvalidRequest("secret: secrets cannot be kept here.", param="secret")
        try:
            sealed = self._means.sealer.seal(secret.encode(), name_context(provider.name, *provider.addresses))
        except Unsealable as error:
            raise InvalidRequest(f"secret: it cannot be kept: {error}.", param="secret") from error
        ending = secret[-4:] if len(secret) >= _SHOWN_FROM else ""
        return msgspec.structs.replace(provider, secret=sealed, ending=ending)


def _show(provider: StoredProvider, state: EntryState, models: tuple[str, ...]) -> ProviderShown:
    secret = None
    if provider.secret is not None:
        secret = f"set, ends in …{provider.ending}" if provider.ending else "set"
    return ProviderShown(
        name=provider.name,
        kind=provider.kind,
        base_url=provider.base_url,
        origin="console",
        state=state,
        secret=secret,
        models=models,
        timeouts=provider.timeouts,
        created_at=provider.created_at,
        replicas=provider.replicas,
        routing=provider.routing,
        metrics_port=provider.metrics_port,
    )


def _list_servers(provider: StoredProvider) -> str:
    """Return its servers in a line, for the audit log."""
    weighed = (one.base_url if one.weight == 1 else f"{one.base_url} weight {one.weight}" for one in provider.replicas)
    return ", ".join(weighed) or provider.base_url


def _list_changes(old: StoredProvider, new: StoredProvider) -> dict[str, object]:
    """Return what is another one, for the audit log."""
    changed: dict[str, object] = {}
    if (before := _list_servers(old)) != (after := _list_servers(new)):
        changed["servers" if old.replicas or new.replicas else "base_url"] = f"{before} -> {after}"
    if new.kind != old.kind:
        changed["kind"] = f"{old.kind} -> {new.kind}"
    if new.routing != old.routing:
        changed["routing"] = f"{old.routing or 'as the kind'} -> {new.routing or 'as the kind'}"
    if new.metrics_port != old.metrics_port:
        changed["metrics_port"] = f"{old.metrics_port or 'none'} -> {new.metrics_port or 'none'}"
    if new.timeouts != old.timeouts:
        changed["timeouts"] = "changed"
    return changed


async def _try(prober: Prober, provider: Provider, address: str, model: str | None) -> trials.Tried:
    """Ask one server; raise Unsealable. Its answer is judged at once: of 64 servers none is kept."""
    listed = await prober.list_models(provider, address)
    chat = await prober.chat(provider, address, model) if model else None
    return trials.judge(address, listed, chat)
