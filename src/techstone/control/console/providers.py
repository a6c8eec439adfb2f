"""The operator's pages of providers: add one from a preset, change it, try it, offer its models."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from litestar import Response, Router, get, post
from litestar.params import FromPath, FromQuery

from techstone.control.catalog.records import Addition, NewProvider, ProviderChange, Trial
from techstone.control.console.pages import Pages, require_operator, visitor_of
from techstone.control.console.session import Nothing, PageRequest, read_form
from techstone.control.console.shell import go
from techstone.core.errors import ApiError
from techstone.core.snapshot import Timeouts

if TYPE_CHECKING:
    from litestar.handlers import HTTPRouteHandler

    from techstone.control.catalog.records import TrialShown

_LIST = "/console/operate/providers"


class Preset(msgspec.Struct, frozen=True):
    """A provider that many have: its name and address to begin with; `note` says where its keys are."""

    name: str
    title: str
    base_url: str
    note: str = ""
    first_byte: float = 60.0


# The addresses are those of the providers' own pages, as in app/presets.
PRESETS = (
    Preset("openai", "OpenAI", "https://api.openai.com/v1", "Keys: platform.openai.com, API keys."),
    Preset(
        "anthropic",
        "Anthropic",
        "https://api.anthropic.com/v1",
        "By its endpoint in OpenAI's format. Keys: console.anthropic.com, API keys.",
    ),
    Preset(
        "google",
        "Google",
        "https://generativelanguage.googleapis.com/v1beta/openai",
        "By its endpoint in OpenAI's format. Keys: aistudio.google.com, API keys.",
    ),
    Preset("openrouter", "OpenRouter", "https://openrouter.ai/api/v1", "Keys: openrouter.ai, Keys."),
    Preset("vllm", "vLLM", "http://127.0.0.1:8000/v1", "A key only where vLLM was started with --api-key."),
    Preset("ollama", "Ollama", "http://127.0.0.1:11434/v1", "No key. It loads a model when it is first asked.", 300.0),
    Preset("", "Any other", "", "Any server with OpenAI's API; /chat/completions is appended to its address."),
)


class ProviderForm(msgspec.Struct, forbid_unknown_fields=True):
    """A provider to be added or changed; an empty key leaves what is there."""

    name: str = ""
    base_url: str = ""
    secret: str | None = None
    forget: bool = False
    connect: float = Timeouts().connect
    first_byte: float = Timeouts().first_byte
    between_bytes: float = Timeouts().between_bytes
    total: float = Timeouts().total

    def timeouts(self) -> Timeouts:
        """Return them in one."""
        return Timeouts(self.connect, self.first_byte, self.between_bytes, self.total)


class TrialForm(msgspec.Struct, forbid_unknown_fields=True):
    """A model to be asked for one token; none: its models alone."""

    model: str | None = None


class SwitchForm(msgspec.Struct, forbid_unknown_fields=True):
    """Whether something is to be on."""

    on: bool


class AdditionForm(msgspec.Struct, forbid_unknown_fields=True):
    """Models to be offered, and the price of those that have no known one."""

    names: tuple[str, ...] = ()
    input: str | None = None
    output: str | None = None


def route_providers(pages: Pages) -> Router:
    """Return the routes under /console/operate/providers."""
    return Router(_LIST, route_handlers=[*_list_new(pages), *_list_one(pages), *_list_steps(pages)])


def _list_new(pages: Pages) -> list[HTTPRouteHandler]:
    services, shell = pages.services, pages.shell

    async def ask(
        request: PageRequest, form: ProviderForm, preset: Preset, problem: ApiError | None = None
    ) -> Response[str]:
        return shell.show(
            request,
            "operate/provider-new.html",
            visitor_of(request),
            form=form,
            chosen=preset,
            presets=PRESETS,
            private=services.providers.private,
            problem=problem,
        )

    @get("/")
    async def list_all(request: PageRequest) -> Response[str]:
        visitor = require_operator(request)
        return shell.show(request, "operate/providers.html", visitor, providers=await services.providers.list())

    @get("/new")
    async def ask_new(request: PageRequest, preset: FromQuery[str] = "openai") -> Response[str]:
        require_operator(request)
        chosen = next((one for one in PRESETS if one.name == preset), PRESETS[-1])
        form = ProviderForm(chosen.name, chosen.base_url, first_byte=chosen.first_byte)
        return await ask(request, form, chosen)

    @post("/new")
    async def create(request: PageRequest) -> Response[Any]:
        require_operator(request)
        form = ProviderForm()
        try:
            form = await read_form(request, ProviderForm)
            wish = NewProvider(form.name, form.base_url, form.secret, form.timeouts())
            made = await services.providers.create(wish)
        except ApiError as problem:
            return await ask(request, form, PRESETS[-1], problem)
        return go(f"{_LIST}/one/{made.name}")

    return [list_all, ask_new, create]


def _list_one(pages: Pages) -> list[HTTPRouteHandler]:
    services = pages.services

    @get("/one/{name:str}")
    async def show(request: PageRequest, name: FromPath[str]) -> Response[str]:
        require_operator(request)
        return await _show(pages, request, name)

    @post("/one/{name:str}")
    async def change(request: PageRequest, name: FromPath[str]) -> Response[Any]:
        require_operator(request)
        form = ProviderForm()
        try:
            form = await read_form(request, ProviderForm)
            secret = "" if form.forget and form.secret is None else form.secret
            await services.providers.change(ProviderChange(name, form.base_url, secret, form.timeouts()))
        except ApiError as problem:
            return await _show(pages, request, name, problem, form=form)
        return go(f"{_LIST}/one/{name}")

    @post("/one/{name:str}/test")
    async def test(request: PageRequest, name: FromPath[str]) -> Response[str]:
        require_operator(request)
        form = await read_form(request, TrialForm)
        try:
            return await _show(pages, request, name, trial=await services.providers.test(Trial(name, form.model)))
        except ApiError as problem:
            return await _show(pages, request, name, problem)

    return [show, change, test]


def _list_steps(pages: Pages) -> list[HTTPRouteHandler]:
    services = pages.services

    @post("/one/{name:str}/switch")
    async def switch(request: PageRequest, name: FromPath[str]) -> Response[Any]:
        require_operator(request)
        await services.providers.switch(name, on=(await read_form(request, SwitchForm)).on)
        return go(f"{_LIST}/one/{name}")

    @post("/one/{name:str}/remove")
    async def remove(request: PageRequest, name: FromPath[str]) -> Response[Any]:
        require_operator(request)
        await read_form(request, Nothing)
        try:
            await services.providers.remove(name)
        except ApiError as problem:
            return await _show(pages, request, name, problem)
        return go(_LIST)

    @post("/one/{name:str}/add")
    async def add(request: PageRequest, name: FromPath[str]) -> Response[Any]:
        require_operator(request)
        form = await read_form(request, AdditionForm)
        try:
            await services.models.add(Addition(name, form.names, form.input, form.output))
        except ApiError as problem:
            trial = await services.providers.test(Trial(name))
            return await _show(pages, request, name, problem, trial=trial, addition=form)
        return go("/console/operate/models")

    return [switch, remove, add]


async def _show(  # noqa: PLR0913 - what one page can show beside the provider
    pages: Pages,
    request: PageRequest,
    name: str,
    problem: ApiError | None = None,
    *,
    form: ProviderForm | None = None,
    trial: TrialShown | None = None,
    addition: AdditionForm | None = None,
) -> Response[str]:
    provider = await pages.services.providers.show(name)
    if form is None:
        form = ProviderForm(name, provider.base_url, **msgspec.structs.asdict(provider.timeouts))
    offered = {model.name for model in await pages.services.models.list()}
    return pages.shell.show(
        request,
        "operate/provider.html",
        visitor_of(request),
        provider=provider,
        form=form,
        trial=trial,
        offered=offered,
        addition=addition or AdditionForm(),
        problem=problem,
    )
