"""The base of every value that crosses a layer."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Value(BaseModel):
    """An immutable record with a closed set of fields, equal by content, and with a JSON form that reads back."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="strings")
