"""What the service tells of an account: models as openai's, whose amounts are Decimal."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from openai import BaseModel

from ._cost import parse_amount

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic.fields import FieldInfo
    from typing_extensions import Self


class Record(BaseModel):
    """A model with amounts. As in openai's, a field that the service adds or changes breaks nothing."""

    @classmethod
    def construct(cls, _fields_set: set[str] | None = None, **values: object) -> Self:
        """Make a record of what came, unchecked; of this openai turns a decimal string into Decimal only in unions."""
        # The fields have another name in pydantic 1, which openai still takes.
        fields: Mapping[str, FieldInfo] = getattr(cls, "model_fields" if hasattr(cls, "model_fields") else "__fields__")
        for name, field in fields.items():
            if field.annotation is Decimal and (amount := parse_amount(values.get(name))) is not None:
                values[name] = amount
        return super().construct(_fields_set, **values)
