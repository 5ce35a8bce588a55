"""Can the restored server archive, replicate, or be replicated from?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from airflow_dr_provider.checks.base import CheckContext
from airflow_dr_provider.checks.parallel import any_connection
from airflow_dr_provider.domain.verdicts import CheckResult, Verdict

_SETTINGS = (
    "archive_mode",
    "archive_command",
    "archive_library",
    "primary_conninfo",
    "primary_slot_name",
    "synchronous_standby_names",
    "listen_addresses",
    "max_logical_replication_workers",
    "sync_replication_slots",
    "restore_command",
    "recovery_end_command",
    "archive_cleanup_command",
)
# What has to be empty; the server shows "(disabled)" for archive_command while archive_mode is off.
_EMPTY = ("archive_library", "primary_conninfo", "primary_slot_name", "synchronous_standby_names", "listen_addresses")
_WORKERS = (
    "archiver",
    "walreceiver",
    "walsender",
    "slotsync worker",
    "logical replication launcher",
    "logical replication worker",
)


class ArchivingOffCheck:
    """Asks the live server for its settings, its processes and its subscriptions.

    Proves that this server, as it runs, writes to no archive, follows no primary, feeds no standby, listens on no network and
    runs no subscription. Can't prove what an extension's own background worker or a job in the database would do: network
    isolation has to hold that.
    """

    name: ClassVar[str] = "archiving_off"
    default_timeout: ClassVar[float] = 30.0

    async def run(self, context: CheckContext) -> Sequence[CheckResult]:
        """Ask again, whatever the sandbox says it set."""
        async with await any_connection(context) as connection:
            cursor = await connection.execute(
                "SELECT name, setting FROM pg_catalog.pg_settings WHERE name = ANY (%s)", (list(_SETTINGS),)
            )
            settings: dict[str, str] = {name: setting or "" for name, setting in await cursor.fetchall()}
            cursor = await connection.execute(
                "SELECT backend_type, count(*) FROM pg_catalog.pg_stat_activity GROUP BY backend_type ORDER BY 1"
            )
            processes: dict[str, int] = {str(kind): number for kind, number in await cursor.fetchall()}
            cursor = await connection.execute(
                "SELECT d.datname || '.' || s.subname FROM pg_catalog.pg_subscription s"
                " JOIN pg_catalog.pg_database d ON d.oid = s.subdbid WHERE s.subenabled ORDER BY 1"
            )
            subscriptions = [name for (name,) in await cursor.fetchall()]
        wrong = _wrong(settings, processes, subscriptions)
        facts: dict[str, Any] = {
            # A connection string may hold a password: that it is set is enough.
            "settings": {name: "(set)" if name == "primary_conninfo" and value else value for name, value in settings.items()},
            "processes": processes,
            "enabled_subscriptions": subscriptions,
        }
        if wrong:
            return (
                CheckResult(
                    name=self.name, verdict=Verdict.FAILED, signature="ARCHIVING_ON", detail=f"{'; '.join(wrong)}.", facts=facts
                ),
            )
        idle = f" {len(subscriptions)} subscriptions are enabled and have no worker to run them." if subscriptions else ""
        return (
            CheckResult(
                name=self.name,
                verdict=Verdict.PASSED,
                detail=f"Nothing is archived or replicated, and no network address is listened on.{idle}",
                facts=facts,
            ),
        )


def _wrong(settings: dict[str, str], processes: dict[str, int], subscriptions: Sequence[str]) -> list[str]:
    wrong = []
    if settings.get("archive_mode") != "off":
        wrong.append(f"archive_mode is {settings.get('archive_mode', 'unknown')}")
    if settings.get("archive_command", "") not in ("", "(disabled)"):
        wrong.append("archive_command is set")
    wrong += [f"{name} is set" for name in _EMPTY if settings.get(name)]
    if settings.get("sync_replication_slots", "off") != "off":
        wrong.append("sync_replication_slots is on")
    wrong += [f"a {kind} is running" for kind in _WORKERS if kind in processes and kind != "logical replication launcher"]
    # The launcher starts a worker for every enabled subscription; with no worker allowed it can't.
    if subscriptions and settings.get("max_logical_replication_workers", "") != "0":
        wrong.append(f"enabled subscriptions can run: {', '.join(subscriptions[:3])}")
    wrong += [f"a {kind} is running" for kind in processes if kind.startswith("logical replication") and kind not in _WORKERS]
    return wrong
