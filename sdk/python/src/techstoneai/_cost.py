"""What an answer cost, in US dollars. The service writes decimals as strings; a float would lose nano-dollars."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from openai.types import CompletionUsage


def parse_amount(text: object) -> Decimal | None:
    """Return an amount, or None where there is none."""
    try:
        amount = Decimal(text) if isinstance(text, str) else None
    except InvalidOperation:
        return None
    return amount if amount is not None and amount.is_finite() else None


def read_cost(headers: Mapping[str, str], usage: CompletionUsage | None) -> Decimal | None:
    """Return what an answer cost by its header, else by its usage, where the service writes the same amount."""
    amount = parse_amount(headers.get("x-techstone-cost"))
    return amount if amount is not None else parse_amount(getattr(usage, "cost", None))
