"""What Airflow is told about this provider (entry point ``apache_airflow_provider``).

Every Airflow process calls it when it starts, so it imports nothing but the standard library: modules are listed by their
files' names, classes by the names below, and whether they are right is what the tests find out.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from airflow_dr_provider import __version__
from airflow_dr_provider.provider_configuration import CONFIG, CONNECTION_TYPES

INTEGRATION = "PostgreSQL disaster recovery drills"
_PACKAGE = "airflow_dr_provider"

# Rooms that Airflow knows by their modules.
ROOMS = ("operators", "sensors", "hooks", "triggers")

# Classes and functions that Airflow looks up one by one. A new one is named here; a test compares the lists with the rooms.
NOTIFICATIONS: tuple[str, ...] = (
    "airflow_dr_provider.notifications.outcome.DrillOutcomeNotifier",
    "airflow_dr_provider.notifications.question.DrillQuestionNotifier",
)
EXTRA_LINKS: tuple[str, ...] = (
    "airflow_dr_provider.links.drill.DrillRecordLink",
    "airflow_dr_provider.links.drill.SandboxLogLink",
)
PLUGINS: tuple[tuple[str, str], ...] = ()  # (the plugin's name, its class)
"""Empty on purpose: Airflow 3.3 loads these only where ``[core] lazy_discover_providers`` is off. Ours are entry points."""


def get_provider_info() -> dict[str, Any]:
    """The provider, in the form of Airflow's ``provider_info.schema.json``; rooms with nothing in them are left out."""
    rooms = {room: [{"integration-name": INTEGRATION, "python-modules": modules(room)}] for room in ROOMS if modules(room)}
    classes = {
        "notifications": list(NOTIFICATIONS),
        "extra-links": list(EXTRA_LINKS),
        "plugins": [{"name": name, "plugin-class": path} for name, path in PLUGINS],
    }
    return {
        "package-name": "airflow-dr-provider",
        "name": "Disaster recovery drills",
        "description": "Proves, on a schedule and by hand, that a PostgreSQL backup can be restored within RTO and RPO.",
        "versions": [__version__],
        "integrations": [
            {"integration-name": INTEGRATION, "external-doc-url": "https://www.postgresql.org/docs/", "tags": ["software"]}
        ],
        "connection-types": list(CONNECTION_TYPES),
        "config": CONFIG,
        "cli": [f"{_PACKAGE}.cli.airflow.get_dr_commands"],
        **rooms,
        **{key: names for key, names in classes.items() if names},
    }


def modules(room: str) -> list[str]:
    """A room's public modules, by their files; a hook's helpers count, as they do in other providers."""
    folder = Path(__file__).parent / room
    return [f"{_PACKAGE}.{room}.{file.stem}" for file in sorted(folder.glob("*.py")) if not file.stem.startswith("_")]
