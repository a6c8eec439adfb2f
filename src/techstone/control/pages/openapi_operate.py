"""The operators' part of /openapi.json, as a table: what is asked, what is answered. Its words stand in `openapi`."""

from __future__ import annotations

from typing import Any

import msgspec

from techstone.control.accounts.records import AccountShown, CapChange, CreditAdded, NewAccount, PlanChange, Suspension
from techstone.control.audit.records import EntryShown, Soundness
from techstone.control.billing.records import (
    CodeChosen,
    CodeShown,
    CreatedCode,
    ModelChosen,
    NewCodes,
    NewPrice,
    PriceShown,
    Redeemed,
    Redemption,
)
from techstone.control.catalog.records import (
    Addition,
    CatalogEntry,
    EntryChosen,
    NewModel,
    NewPlan,
    NewProvider,
    NewReplica,
    PlanShown,
    ProviderChange,
    ProviderShown,
    Switched,
    Trial,
    TrialShown,
)
from techstone.control.switches.records import SwitchChange, SwitchShown

PREFIX = "/api/v1/operate"
_WHO = ("who", "string", True, "The account: its email or id.")
_MODEL = ("model", "string", False, "Only this model's.")
_EMAIL = "ann@example.com"
_ROUTE = {"provider": "vllm", "model": "meta-llama/Llama-3.1-8B-Instruct"}


class Asked(msgspec.Struct, frozen=True):
    """One operation. `many`: the answer is an array of `answer`; `example` is the body's."""

    path: str
    name: str
    summary: str
    answer: type[msgspec.Struct]
    many: bool = False
    body: type[msgspec.Struct] | None = None
    example: dict[str, Any] = {}
    query: tuple[tuple[str, str, bool, str], ...] = ()
    status: int = 201

    @property
    def method(self) -> str:
        """GET reads, POST changes."""
        return "get" if self.body is None else "post"


def _change(path: str, name: str, summary: str, answer: type[msgspec.Struct], body: msgspec.Struct) -> Asked:
    example = {name: value for name, value in msgspec.to_builtins(body).items() if value is not None}
    return Asked(path, name, summary, answer, body=type(body), example=example, status=200)


OPERATIONS = (
    Asked("/accounts", "listAccounts", "List accounts, oldest first", AccountShown, many=True),
    Asked("/accounts", "createAccount", "Open an account", AccountShown, body=NewAccount, example={"email": _EMAIL}),
    Asked("/accounts/one", "retrieveAccount", "Show an account", AccountShown, query=(_WHO,)),
    Asked(
        "/accounts/plan", "setPlan", "Set plan and limits", AccountShown, body=PlanChange, example={"plan": "pro"},
        query=(_WHO,),
    ),
    Asked(
        "/accounts/cap", "setCap", "Set the cap of a month", AccountShown, body=CapChange,
        example={"monthly_cap": "100.00"}, query=(_WHO,),
    ),
    Asked(
        "/accounts/credit", "addCredit", "Add credit", AccountShown, body=CreditAdded, example={"usd": "10.00"},
        query=(_WHO,),
    ),
    Asked(
        "/accounts/suspension", "suspendAccount", "Suspend an account, or let it in again", AccountShown,
        body=Suspension, example={"suspended": True}, query=(_WHO,),
    ),
    Asked("/codes", "listCodes", "List top-up codes, oldest first", CodeShown, many=True),
    Asked("/codes", "createCodes", "Make codes, shown this once", CreatedCode, True, NewCodes, {"usd": "10.00"}),
    Asked(
        "/codes/redeem", "redeemCode", "Turn a code into credit", Redeemed, body=Redemption,
        example={"code": "TS-...", "account": _EMAIL},
    ),
    Asked("/codes/revoke", "revokeCode", "End a code", CodeShown, body=CodeChosen, example={"id": "code_..."}),
    Asked("/providers", "listProviders", "List providers", ProviderShown, many=True),
    Asked(
        "/providers", "createProvider", "Add a provider", ProviderShown, body=NewProvider,
        example={
            "name": "vllm", "kind": "vllm", "secret": "sk-...", "routing": "affinity",
            "replicas": [{"base_url": f"https://gpu-{number}.example.com/v1"} for number in (1, 2)],
        },
    ),
    _change(
        "/providers/change", "changeProvider", "Change a provider; other addresses drop its secret", ProviderShown,
        ProviderChange(
            "vllm", secret="sk-...",  # noqa: S106 - an example
            replicas=(NewReplica("https://gpu-1.example.com/v1"), NewReplica("https://gpu-3.example.com/v1", 2)),
        ),
    ),
    _change("/providers/switch", "switchProvider", "Switch a provider", ProviderShown, Switched("vllm", True)),
    _change("/providers/remove", "removeProvider", "Forget a provider", ProviderShown, EntryChosen("vllm")),
    _change(
        "/providers/test", "testProvider", "Ask each server of a provider for its models, or for a token", TrialShown,
        Trial("vllm"),
    ),
    Asked("/catalog", "listCatalog", "List models, also those that are off", CatalogEntry, many=True),
    Asked(
        "/catalog", "createModel", "Offer a model", CatalogEntry, body=NewModel,
        example={"name": "llama-3.1-8b", "routes": [_ROUTE], "input": "0.10", "output": "0.30"},
    ),
    Asked(
        "/catalog/add", "addModels", "Offer models of a provider by their own names", CatalogEntry, True, Addition,
        {"provider": "vllm", "names": ["qwen3-8b"], "input": "0.10", "output": "0.30"},
    ),
    Asked(
        "/catalog/change", "changeModel", "Put all of a model anew", CatalogEntry, body=NewModel,
        example={"name": "llama-3.1-8b", "routes": [_ROUTE], "display": "Llama 3.1 8B"}, status=200,
    ),
    _change("/catalog/switch", "switchModel", "Switch a model on or off", CatalogEntry, Switched("llama-3.1-8b", True)),
    _change("/catalog/remove", "removeModel", "Forget a model", CatalogEntry, EntryChosen("llama-3.1-8b")),
    Asked("/prices", "listPrices", "List prices in force and to come", PriceShown, many=True, query=(_MODEL,)),
    Asked(
        "/prices", "setPrice", "Set a price from a time on", PriceShown, True, NewPrice,
        {"model": "llama-3.1-8b", "input": "0.10", "output": "0.30"},
    ),
    Asked(
        "/prices/reset", "resetPrice", "Go back to the configured price", PriceShown, True, ModelChosen,
        {"model": "llama-3.1-8b"},
    ),
    Asked("/plans", "listPlans", "List plans, with how many accounts are on each", PlanShown, many=True),
    Asked(
        "/plans", "createPlan", "Add a plan", PlanShown, body=NewPlan,
        example={"name": "team", "rpm": 200, "tpm": 1_000_000, "concurrent": 20, "billing": "postpaid"},
    ),
    _change(
        "/plans/change", "changePlan", "Give a plan other numbers", PlanShown, NewPlan("team", 300, 1_500_000, 30)
    ),
    _change("/plans/remove", "removePlan", "Forget a plan", PlanShown, EntryChosen("team")),
    Asked("/switches", "listSwitches", "List feature switches", SwitchShown, many=True),
    _change("/switches", "setSwitch", "Switch a feature", SwitchShown, SwitchChange("sign_up", True)),
    Asked(
        "/audit", "listAudit", "List the audit log, newest first", EntryShown, many=True,
        query=(
            ("account", "string", False, "Only of this account: its email or id."),
            ("actor", "string", False, "Only by this actor."),
            ("action", "string", False, "Only this act, or acts on this noun."),
            ("before", "integer", False, "Only entries before this number."),
            ("limit", "integer", False, "At most so many."),
        ),
    ),
    Asked("/audit/check", "checkAudit", "Follow the audit log's whole chain", Soundness),
)  # fmt: skip

SHAPES = tuple({one.answer: None for one in OPERATIONS} | {one.body: None for one in OPERATIONS if one.body})
