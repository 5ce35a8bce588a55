"""Would the next value that a sequence gives out be a new one?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import psycopg
from psycopg import errors

from airflow_dr_provider.checks import numbering
from airflow_dr_provider.checks.answers import LISTED, failed, passed, some, unknown
from airflow_dr_provider.checks.base import CheckContext
from airflow_dr_provider.checks.cluster_drift import Moments, cluster_facts, moments
from airflow_dr_provider.checks.parallel import Connection, spread
from airflow_dr_provider.checks.sql_errors import describe, is_corruption
from airflow_dr_provider.domain.reference import SequenceState
from airflow_dr_provider.domain.verdicts import CheckResult

_SECONDS = 10


class SequencesCheck:
    """Compares each sequence that numbers a column, owned or of an identity, with the greatest value in that column.

    Proves that the next row inserted into the restored copy would get a number of its own. Can't prove it where the column
    has no index to ask and its table is large (``unasked`` in the record), or for values that transactions had taken and not
    committed. A sequence that is behind in production too, because rows brought numbers of their own, is no fault of the
    backup: against the reference it is reported, and without one it can't be told from a fault.
    """

    name: ClassVar[str] = "sequences"
    default_timeout: ClassVar[float] = 300.0

    async def run(self, context: CheckContext) -> Sequence[CheckResult]:
        """Ask each sequence and its column's index."""
        system_identifier, there = await cluster_facts(context)
        names = [name for name in context.databases if name in there]
        items = {}
        for name in names:
            async with await context.connect(name, "admin") as connection:
                items[name] = await numbering.list_sequences(connection)
        answers = await spread(context, items, _ask)
        damaged = sorted(error for _, _, error in answers if error)
        if damaged:
            return (failed(self.name, "DATA_CORRUPT", f"Sequences or their columns can't be read: {some(damaged)}."),)
        moment = moments(context, context.reference, system_identifier) if context.reference is not None else None
        return (self._judge(context, [(database, state) for database, state, _ in answers], moment),)

    def _judge(self, context: CheckContext, states: Sequence[tuple[str, SequenceState]], moment: Moments | None) -> CheckResult:
        known = {
            (database.name, state.name): state
            for database in (context.reference.databases if context.reference is not None else ())
            for state in database.sequences or ()
        }
        behind = [(database, state) for database, state in states if state.behind]
        lost: list[str] = []
        undecided: list[str] = []
        too: list[str] = []
        for database, state in behind:
            before = known.get((database, state.name))
            told = f"{state.name} stands behind {state.column} (database {database})"
            if before is None or before.behind is None:
                undecided.append(told)
            elif before.behind:
                too.append(told)
            else:
                (lost if _fell(before, state, moment) else undecided).append(told)
        unasked = [f"{database}: {state.name}" for database, state in states if state.behind is None]
        facts = {
            "behind": lost[:LISTED],
            "undecided": undecided[:LISTED],
            "in_reference_too": too[:LISTED],
            "unasked": unasked[:LISTED],
        }
        measurements = {"sequences": float(len(states)), "sequences_behind": float(len(behind))}
        if lost:
            detail = f"{some(lost)}; in the reference {'they are' if len(lost) > 1 else 'it is'} not."
            return failed(self.name, "SEQUENCE_BEHIND", detail, measurements=measurements, facts=facts)
        if undecided:
            detail = f"{some(undecided)}; nothing tells whether that was so in production."
            return unknown(self.name, "SEQUENCE_BEHIND", detail, required=False, measurements=measurements, facts=facts)
        also = f" Behind in the reference too: {some(too)}." if too else ""
        asked = len(states) - len(unasked)
        rest = f" {len(unasked)} could not be asked at a bounded cost." if unasked else ""
        return passed(
            self.name, f"{asked} sequences stand beyond their columns.{rest}{also}", measurements=measurements, facts=facts
        )


def _fell(before: SequenceState, now: SequenceState, moment: Moments | None) -> bool:
    """Whether production can't explain that a sequence is behind now and was not then.

    After an older reference rows may have come with numbers of their own and overtaken it: only one that went back itself
    has lost something. A later reference says that it is in order, and that is all it can say.
    """
    if moment is None or moment.reference_is_later is not False:
        return True
    return before.last_value is not None and (now.last_value is None or now.last_value < before.last_value)


async def _ask(connection: Connection, database: str, item: numbering.Sequence) -> tuple[str, SequenceState, str]:
    await connection.execute("SELECT pg_catalog.set_config('statement_timeout', %s, false)", (f"{_SECONDS}s",))
    try:
        return database, await numbering.read(connection, item), ""
    except errors.QueryCanceled:
        return database, item.unknown, ""
    except psycopg.Error as error:
        if connection.closed or not is_corruption(error, internal=True):
            raise
        return database, item.unknown, f"{item.unknown.name} (database {database}): {describe(error)}"
