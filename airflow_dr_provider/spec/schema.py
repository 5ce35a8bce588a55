"""The JSON Schema of a spec, for editors."""

from __future__ import annotations

from typing import Any

from airflow_dr_provider.spec.models import DrillSpec

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def json_schema() -> dict[str, Any]:
    """The schema, draft 2020-12, every key described."""
    return {"$schema": DIALECT, "title": "Disaster recovery drill", **_without_titles(DrillSpec.model_json_schema())}


def _without_titles(node: Any) -> Any:
    """The same without the titles that repeat a key's name."""
    if isinstance(node, dict):
        return {key: _without_titles(value) for key, value in node.items() if not (key == "title" and isinstance(value, str))}
    return [_without_titles(entry) for entry in node] if isinstance(node, list) else node
