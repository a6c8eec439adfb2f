"""What the service tells of an account: models as openai's, whose amounts are Decimal."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from openai import BaseModel

from ._cost import parse_amount

if TYPE_CHECKING:
    from typing_extensions import Self


class Record(BaseModel):
    """A model with amounts. As in openai's, a field that the service adds or changes breaks nothing."""

    @classmethod
    def construct(cls, _fields_set: set[str] | None = None, **values: object) -> Self:
        """Make a record of what came, unchecked; of this openai turns a decimal string into Decimal only in unions."""
        for name, field in cls.model_fields.items():
            if field.annotation is Decimal and (amount := parse_amount(values.get(name))) is not None:
                values[name] = amount
        return super().construct(_fields_set, **values)
