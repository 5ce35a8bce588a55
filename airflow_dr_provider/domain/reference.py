"""What a healthy database looked like: the yardstick of the schema, index and row checks."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from airflow_dr_provider.domain.lsn import Lsn
from airflow_dr_provider.domain.value import Value


class ObjectKind(StrEnum):
    """The kinds of object that a reference lists."""

    DATABASE = "database"
    SCHEMA = "schema"
    TABLE = "table"
    COLUMN = "column"
    CONSTRAINT = "constraint"
    INDEX = "index"
    VIEW = "view"
    MATERIALIZED_VIEW = "materialized view"
    SEQUENCE = "sequence"
    FUNCTION = "function"
    TRIGGER = "trigger"
    TYPE = "type"
    EXTENSION = "extension"
    POLICY = "policy"


class SchemaObject(Value):
    """One object: what it is, its qualified name, its definition, and the transaction that last changed it.

    :param definition: canonical text; equal text means equal definition. Settings of the server's build left out.
    :param changed_by: 64-bit id of the transaction that made or renamed it, as far as its catalog row tells; None when unknown.
    :param definition_changed_by: the newest transaction that wrote any row its definition's text is made from (a renamed
        column changes the text of an index and leaves the index's own row alone); None where *changed_by* says it all.
    :param parent: name of the schema or table that it lies in and goes with; "" when it stands alone.
    :param valid: False for an index that is not valid, or a constraint that is not validated.
    """

    kind: ObjectKind
    name: str
    definition: str
    changed_by: int | None = None
    definition_changed_by: int | None = None
    parent: str = ""
    valid: bool = True


class TableRows(Value):
    """Rows of one table.

    :param exact: whether they were counted; False for the planner's estimate.
    :param unlogged: an unlogged table is empty after any recovery, and that is no fault.
    :param oldest_row: 64-bit id of the oldest transaction that wrote one of the rows read; None when none was read.
    """

    name: str
    rows: int
    exact: bool = True
    unlogged: bool = False
    oldest_row: int | None = None


class HotRelation(Value):
    """How much production used a table or an index.

    :param touched: blocks of it that were read or found in the cache since its statistics began.
    """

    name: str
    touched: int


class DatabaseReference(Value):
    """One database of the cluster.

    :param changed_by: 64-bit id of the transaction that wrote its row in ``pg_database``, None when unknown.
    :param captured: False when it exists and could not be read; *notes* say why.
    :param hottest: what production uses most, the hottest first; of a restored copy nothing is known.
    :param notes: sentences about what was left out (tables that the account may not read, counts that took too long).
    """

    name: str
    objects: tuple[SchemaObject, ...] = ()
    tables: tuple[TableRows, ...] = ()
    changed_by: int | None = None
    captured: bool = True
    notes: tuple[str, ...] = ()
    hottest: tuple[HotRelation, ...] = ()


class Reference(Value):
    """A cluster at one moment.

    :param source: ``production``, ``last_good_run`` or ``file``.
    :param lsn: where its WAL stood, None when unknown.
    :param next_transaction: the first 64-bit transaction id not yet given out then; None when unknown.
    """

    source: str
    captured_at: datetime
    system_identifier: int | None = None
    server_version: int
    lsn: Lsn | None = None
    timeline: int | None = None
    next_transaction: int | None = None
    databases: tuple[DatabaseReference, ...] = ()
