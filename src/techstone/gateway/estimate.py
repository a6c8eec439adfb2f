"""POST /v1/estimate: a dry run of a chat request. No upstream is called, nothing is reserved and nothing is counted."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from techstone.core import chat, money, pricing, refusals
from techstone.core.limits import Claim
from techstone.gateway.soon import arrive
from techstone.wire.estimate import Estimate, EstimatedCost, EstimatedLimits, EstimatedRoute

if TYPE_CHECKING:
    from techstone.core.view import Principal
    from techstone.gateway.admission import Candidate, Doorkeeper
    from techstone.gateway.exchange import Exchange
    from techstone.gateway.ports import LimitStore

_ENCODER = msgspec.json.Encoder()


class Estimates:
    """The endpoint."""

    def __init__(self, doorkeeper: Doorkeeper, limits: LimitStore) -> None:
        self._doorkeeper = doorkeeper
        self._limits = limits

    async def create(self, exchange: Exchange) -> None:
        """Answer with what the request would take."""
        request = chat.read(exchange.body)
        candidate = self._doorkeeper.judge(exchange, request)
        reservation, price = candidate.reservation, candidate.price
        claim = Claim(exchange.request_id, candidate.principal, reservation.tokens, reservation.nano)
        refusal = await self._limits.consider(claim)
        prompt = request.estimate()
        each = request.max_tokens or reservation.output or candidate.model.max_output_tokens
        longest = None if each is None else each * request.n
        most = pricing.highest(price, reservation.prompt, longest or reservation.covered)
        answer = Estimate(
            model=candidate.model.name,
            prompt_tokens=prompt,
            max_completion_tokens=longest,
            reserved_tokens=reservation.tokens,
            cost=EstimatedCost(money.show(pricing.cost(price, prompt, 0, 0, 0)), money.show(most)),
            limits=await self._describe(candidate),
            route=[
                EstimatedRoute(route.provider, route.model)
                for route in sorted(candidate.model.routes, key=lambda route: route.priority)
            ],
            admissible=refusal is None,
            refusal=None if refusal is None else refusals.explain(refusal).message,
        )
        exchange.send_json(200, _ENCODER.encode(answer))

    async def _read_credit(self, principal: Principal) -> int | None:
        if principal.plan.billing != "prepaid":
            return None
        return await arrive(self._limits.credit(principal))

    async def _describe(self, candidate: Candidate) -> EstimatedLimits:
        principal = candidate.principal
        standing = self._limits.standing(principal)
        credit = await self._read_credit(principal)
        own = principal.key.concurrent
        concurrent = principal.limits.concurrent if own is None else min(own, principal.limits.concurrent)
        return EstimatedLimits(
            standing.limit_requests,
            standing.remaining_requests,
            standing.limit_tokens,
            standing.remaining_tokens,
            concurrent,
            None if credit is None else money.show(credit),
        )
