"""The operator's pages of providers: add one from a preset, change it, try it, offer its models."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Literal

import msgspec
from litestar import Response, Router, get, post
from litestar.params import FromPath, FromQuery

from techstone.control.catalog.records import Addition, NewProvider, NewReplica, ProviderChange, Trial
from techstone.control.console.pages import Pages, require_operator, visitor_of
from techstone.control.console.session import Nothing, PageRequest, read_form
from techstone.control.console.shell import go
from techstone.core.errors import ApiError, InvalidRequest
from techstone.core.snapshot import Routing, Timeouts, UpstreamKind

if TYPE_CHECKING:
    from litestar.handlers import HTTPRouteHandler

    from techstone.control.catalog.records import ProviderShown, TrialShown

_LIST = "/console/operate/providers"
# More digits than any weight has are not read as a number.
_DIGITS = 6
_QUOTED = 60


class Preset(msgspec.Struct, frozen=True):
    """A provider that many have: its name and address to begin with; `note` says where its keys are."""

    name: str
    title: str
    base_url: str
    note: str = ""
    first_byte: float = 60.0
    kind: UpstreamKind = "openai"


# The addresses are those of the providers' own pages, as in app/presets; of engines their default ports.
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
    Preset(
        "vllm", "vLLM", "http://127.0.0.1:8000/v1", "A key only where vLLM was started with --api-key.", kind="vllm"
    ),
    Preset(
        "sglang",
        "SGLang",
        "http://127.0.0.1:30000/v1",
        "A key only where it was started with --api-key. It tells its load with --enable-metrics.",
        kind="sglang",
    ),
    Preset(
        "llama.cpp",
        "llama.cpp",
        "http://127.0.0.1:8080/v1",
        "A key only where it was started with --api-key. It tells its load with --metrics.",
        kind="llama.cpp",
    ),
    Preset(
        "ollama",
        "Ollama",
        "http://127.0.0.1:11434/v1",
        "No key. It loads a model when it is first asked.",
        300.0,
        "ollama",
    ),
    Preset("", "Any other", "", "Any server with OpenAI's API; /chat/completions is appended to its address."),
)


KINDS: tuple[tuple[UpstreamKind, str], ...] = (
    ("openai", "Any server with OpenAI's API"),
    ("vllm", "vLLM"),
    ("sglang", "SGLang"),
    ("ray-serve", "Ray Serve"),
    ("llama.cpp", "llama.cpp"),
    ("ollama", "Ollama"),
)
ROUTINGS: tuple[tuple[Routing | Literal[""], str], ...] = (
    ("", "Default for the kind"),
    ("affinity", "Affinity: a conversation stays on its server"),
    ("least-busy", "Least busy: the server with the fewest requests"),
    ("weighted", "Weighted: by chance"),
)


class ProviderForm(msgspec.Struct, forbid_unknown_fields=True):
    """A provider to be added or changed; an empty key leaves what is there. `replicas` are addresses, one a line."""

    name: str = ""
    kind: UpstreamKind = "openai"
    replicas: str = ""
    routing: Routing | None = None
    metrics_port: int | None = None
    secret: str | None = None
    forget: bool = False
    connect: float = Timeouts().connect
    first_byte: float = Timeouts().first_byte
    between_bytes: float = Timeouts().between_bytes
    total: float = Timeouts().total

    def timeouts(self) -> Timeouts:
        """Return them in one."""
        return Timeouts(self.connect, self.first_byte, self.between_bytes, self.total)

    def servers(self) -> tuple[NewReplica, ...]:
        """Return what stands in the lines: an address, and a weight where one follows it. Raise InvalidRequest."""
        return tuple(_read_line(line.split()) for line in self.replicas.splitlines() if line.strip())


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
            kinds=KINDS,
            routings=ROUTINGS,
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
        form = ProviderForm(chosen.name, chosen.kind, chosen.base_url, first_byte=chosen.first_byte)
        return await ask(request, form, chosen)

    @post("/new")
    async def create(request: PageRequest) -> Response[Any]:
        require_operator(request)
        form = ProviderForm()
        try:
            form = await read_form(request, ProviderForm)
            wish = NewProvider(
                form.name,
                secret=form.secret,
                timeouts=form.timeouts(),
                kind=form.kind,
                replicas=form.servers(),
                routing=form.routing,
                metrics_port=form.metrics_port,
            )
            made = await services.providers.create(wish)
        except ApiError as problem:
            return await ask(request, form, PRESETS[-1], _tell_line(problem))
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
            wish = ProviderChange(
                name,
                secret=secret,
                timeouts=form.timeouts(),
                kind=form.kind,
                replicas=form.servers(),
                routing=form.routing or "",
                metrics_port=form.metrics_port or 0,
            )
            await services.providers.change(wish)
        except ApiError as problem:
            return await _show(pages, request, name, _tell_line(problem), form=form)
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
        form = _fill(provider)
    condition = await pages.services.health.look()
    offered = {model.name for model in await pages.services.models.list()}
    return pages.shell.show(
        request,
        "operate/provider.html",
        visitor_of(request),
        provider=provider,
        replicas=[one for one in condition.replicas if one.replica.provider == name],
        form=form,
        kinds=KINDS,
        routings=ROUTINGS,
        trial=trial,
        offered=offered,
        addition=addition or AdditionForm(),
        problem=problem,
    )


def _fill(provider: ProviderShown) -> ProviderForm:
    """Return the form of a provider as it is."""
    lines = [one.base_url if one.weight == 1 else f"{one.base_url} {one.weight}" for one in provider.replicas]
    kind: UpstreamKind = next((kind for kind, _ in KINDS if kind == provider.kind), "openai")
    return ProviderForm(
        provider.name,
        kind,
        "\n".join(lines) or provider.base_url,
        provider.routing,
        provider.metrics_port,
        **msgspec.structs.asdict(provider.timeouts),
    )


def _read_line(words: list[str]) -> NewReplica:
    url, *rest = words
    if not rest:
        return NewReplica(url)
    if len(rest) > 1 or not rest[0].isascii() or not rest[0].isdigit() or len(rest[0]) > _DIGITS:
        raise InvalidRequest(
            f"`{' '.join(words)[:_QUOTED]}`: expected an address, and after it at most a number, its weight.",
            param="replicas",
        )
    return NewReplica(url, int(rest[0]))


def _tell_line(problem: ApiError) -> ApiError:
    """Return a problem with an address in words of the form: by its line."""
    found = re.fullmatch(r"replicas\[(\d+)\]\.(?:base_url|weight)", problem.param or "")
    if found is None:
        return problem
    told = problem.message.removeprefix(f"{problem.param}: ")
    return InvalidRequest(f"Server {int(found[1]) + 1}: {told}", param="replicas")
