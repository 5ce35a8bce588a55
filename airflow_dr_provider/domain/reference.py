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
    PRIVILEGES = "privileges"
    RULE = "rule"
    EVENT_TRIGGER = "event trigger"
    FOREIGN_SERVER = "foreign server"
    PUBLICATION = "publication"
    STATISTICS = "extended statistics"
    COLLATION = "collation"
    SETTING = "database setting"
    CONTENT = "content"
    OTHER = "other object"


FIRST_KINDS = tuple(ObjectKind)[: tuple(ObjectKind).index(ObjectKind.PRIVILEGES)]
"""What a reference holds that doesn't say which kinds it was captured with: those of the first version."""


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


class SequenceState(Value):
    """A sequence and the column that it numbers.

    :param last_value: the last one given out; None when none was.
    :param behind: whether the value that it would give out next is not beyond all that the column holds; None when that
        was not asked (no index to ask, no right, no time).
    """

    name: str
    column: str
    last_value: int | None = None
    behind: bool | None = None


class Membership(Value):
    """One role that a role is a member of. *options*: ``admin``, ``inherit``, ``set``, as far as the version has them."""

    role: str
    options: str


class RoleFacts(Value):
    """A role of the cluster. No passwords; values of its settings only as digests.

    :param attributes: its rights, connection limit and expiry as one text.
    :param changed_by: 64-bit id of the transaction that last wrote its row, None where the account may not see that.
    :param exists_since: 64-bit id of the oldest transaction that wrote a row naming it (as an owner, grantee or member): it
        existed by then. None when there is no such row.
    :param memberships_by: the newest transaction that granted it one.
    :param settings_by: the newest transaction that wrote its settings.
    """

    oid: int
    name: str
    attributes: str
    memberships: tuple[Membership, ...] = ()
    settings: tuple[str, ...] = ()
    changed_by: int | None = None
    exists_since: int | None = None
    memberships_by: int | None = None
    settings_by: int | None = None


class HotRelation(Value):
    """How much production used a table or an index.

    :param touched: blocks of it that were read or found in the cache since its statistics began.
    """

    name: str
    touched: int


class DatabaseReference(Value):
    """One database of the cluster.

    :param kinds: the kinds of object it was captured with; see :attr:`compared`.
    :param sequences: None when they were not looked at.
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
    kinds: tuple[ObjectKind, ...] = ()
    sequences: tuple[SequenceState, ...] | None = None

    @property
    def compared(self) -> tuple[ObjectKind, ...]:
        """The kinds that it can be compared by: a kept one may be older than some of them."""
        return self.kinds or FIRST_KINDS


class Reference(Value):
    """A cluster at one moment.

    :param source: ``production``, ``last_good_run`` or ``file``.
    :param lsn: where its WAL stood, None when unknown.
    :param next_transaction: the first 64-bit transaction id not yet given out then; None when unknown.
    :param roles: None when they were not captured.
    """

    source: str
    captured_at: datetime
    system_identifier: int | None = None
    server_version: int
    lsn: Lsn | None = None
    timeline: int | None = None
    next_transaction: int | None = None
    databases: tuple[DatabaseReference, ...] = ()
    roles: tuple[RoleFacts, ...] | None = None
