"""What an answer cost, in US dollars. The service writes decimals as strings; a float would lose nano-dollars."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from openai.types import CompletionUsage


# As the service writes them; Decimal reads more, such as 1_000, 1e3 and NaN.
_AMOUNT = re.compile(r"-?\d+(?:\.\d+)?", re.ASCII)


def parse_amount(text: object) -> Decimal | None:
    """Return an amount, or None where there is none."""
    return Decimal(text) if isinstance(text, str) and _AMOUNT.fullmatch(text) else None


def read_cost(headers: Mapping[str, str], usage: CompletionUsage | None) -> Decimal | None:
    """Return what an answer cost by its header, else by its usage, where the service writes the same amount."""
    amount = parse_amount(headers.get("x-techstone-cost"))
    return amount if amount is not None else parse_amount(getattr(usage, "cost", None))
