"""Damage to the restored server, and to the machine that it runs on.

Most is done by the package's own faults (``airflow-dr inject --list``); objects are lost by a statement on the open server.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from airflow_dr_provider.domain.fault_list import FAULTS, Fault, Leads, Moment
from airflow_dr_provider.faults.base import DEEDS, Victim
from airflow_dr_provider.faults.server import stop
from tests.scenarios.matrix.ground import Ground, Make, Row, Seen

OTHER, SAME = "secondary with first", "secondary with second"
_STATEMENT = "statement"


def injected(fault: str, *changes: tuple[str, str]) -> Make:
    """By a fault of the package's own."""

    def make(ground: Ground) -> None:
        ground.inject.append(fault)
        for what, instead in changes:
            ground.change(what, instead)

    return make


_CURRENT: list[str] = []


async def execute(victim: Victim) -> str:
    """Run the row's statement on the open server."""
    async with await victim.connect("postgres") as connection:
        await connection.execute(_CURRENT[0].encode())
    return _CURRENT[0]


_SUBSCRIBING = "subscribing"


async def subscribe(victim: Victim) -> str:
    """Enable a subscription on a server that may start its worker. Without a slot only the catalog can be told so."""
    async with await victim.connect("template1") as connection:
        await connection.execute("UPDATE pg_subscription SET subenabled = true")
        await connection.execute("ALTER SYSTEM SET max_logical_replication_workers = 1")
    await stop(victim)
    await victim.start()
    return "a subscription was enabled, and the server restarted with a worker for it"


@contextmanager
def statements() -> Iterator[None]:
    """Let a statement be a fault among the others."""
    FAULTS[_STATEMENT] = Fault(
        name=_STATEMENT, moment=Moment.SERVER_OPEN, signatures=(), leads=Leads.ANOTHER_BACKUP, found_by="", meaning=""
    )
    FAULTS[_SUBSCRIBING] = FAULTS[_STATEMENT].model_copy(update={"name": _SUBSCRIBING})
    DEEDS[_STATEMENT] = f"{__name__}:execute"
    DEEDS[_SUBSCRIBING] = f"{__name__}:subscribe"
    try:
        yield
    finally:
        for name in (_STATEMENT, _SUBSCRIBING):
            del FAULTS[name], DEEDS[name]


def sql(statement: str) -> Make:
    """By a statement."""

    def make(ground: Ground) -> None:
        _CURRENT[:] = [statement]
        ground.inject.append(_STATEMENT)

    return make


def changed(what: str, instead: str) -> Make:
    """By another line in the spec."""
    return lambda ground: ground.change(what, instead)


def _late(ground: Ground) -> None:
    ground.as_of = ground.base.disaster + timedelta(hours=2)


def _old(ground: Ground) -> None:
    ground.as_of = ground.base.disaster + timedelta(minutes=30)
    ground.change("lookback: 7d", "lookback: 10m")


_TIERS = "timeout: 3m, profile: full"


def _rows(family: str, *table: tuple[str, str, Make, str, str]) -> tuple[Row, ...]:
    return tuple(Row(name, family, how, make, Seen(code, move)) for name, how, make, code, move in table)


def _lost(*table: tuple[str, str, str]) -> tuple[Row, ...]:
    return tuple(Row(name, "server", statement, sql(statement), Seen(code, OTHER)) for name, statement, code in table)


ROWS = (
    *_lost(
        ("index dropped", "DROP INDEX shop.orders_by_customer", "INDEX_MISSING"),
        ("index defined otherwise", "DROP INDEX shop.orders_by_customer; CREATE INDEX orders_by_customer ON shop.orders (placed_at)",
         "INDEX_DRIFT"),
        ("index invalid", "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'shop.orders_by_customer'::regclass",
         "INDEX_INVALID"),
        ("primary key dropped", "ALTER TABLE shop.orders DROP CONSTRAINT orders_pkey", "SCHEMA_DRIFT"),
        ("foreign key dropped", "ALTER TABLE shop.orders DROP CONSTRAINT orders_customer_id_fkey", "SCHEMA_DRIFT"),
        ("check dropped", "ALTER TABLE shop.orders DROP CONSTRAINT orders_amount_check", "SCHEMA_DRIFT"),
        ("column dropped", "ALTER TABLE shop.customers DROP COLUMN born", "SCHEMA_DRIFT"),
        ("column added", "ALTER TABLE shop.customers ADD COLUMN extra int", "SCHEMA_DRIFT"),
        ("type changed", "ALTER TABLE shop.customers ALTER COLUMN born TYPE text", "SCHEMA_DRIFT"),
        ("default changed", "ALTER TABLE shop.orders ALTER COLUMN state SET DEFAULT 'paid'", "SCHEMA_DRIFT"),
        ("collation changed", "ALTER TABLE shop.orders ALTER COLUMN note TYPE varchar(40) COLLATE \"POSIX\"", "SCHEMA_DRIFT"),
        ("not null dropped", "ALTER TABLE shop.customers ALTER COLUMN name DROP NOT NULL", "SCHEMA_DRIFT"),
        ("view dropped", "DROP VIEW shop.revenue", "SCHEMA_DRIFT"),
        ("view changed", "CREATE OR REPLACE VIEW shop.revenue AS SELECT customer_id, 2 * sum(amount) AS amount FROM shop.orders"
         " GROUP BY customer_id", "SCHEMA_DRIFT"),
        ("function changed", "CREATE OR REPLACE FUNCTION shop.touch() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RETURN NULL; END$$",
         "SCHEMA_DRIFT"),
        ("trigger dropped", "DROP TRIGGER touched ON shop.orders", "SCHEMA_DRIFT"),
        ("trigger disabled", "ALTER TABLE shop.orders DISABLE TRIGGER touched", "SCHEMA_DRIFT"),
        ("policy dropped", "DROP POLICY readers ON shop.documents", "SCHEMA_DRIFT"),
        ("row security off", "ALTER TABLE shop.documents DISABLE ROW LEVEL SECURITY", "SCHEMA_DRIFT"),
        ("grant revoked", "REVOKE SELECT ON shop.orders FROM clerk", "SCHEMA_DRIFT"),
        ("partition detached", "ALTER TABLE shop.events DETACH PARTITION shop.events_old", "SCHEMA_DRIFT"),
        ("sequence dropped", "ALTER TABLE shop.orders ALTER COLUMN id DROP DEFAULT; DROP SEQUENCE shop.numbers", "SCHEMA_DRIFT"),
        ("label added to a type", "ALTER TYPE shop.state ADD VALUE 'lost'", "SCHEMA_DRIFT"),
        ("extension dropped", "DROP EXTENSION pg_trgm CASCADE", "EXTENSION_MISSING"),
        ("table dropped", "DROP TABLE shop.documents", "SCHEMA_DRIFT"),
        ("role dropped", "DROP OWNED BY clerk; DROP ROLE clerk", "ROLE_MISSING"),
        ("role given power", "ALTER ROLE clerk SUPERUSER", "ROLE_DRIFT"),
        ("sequence behind", "SELECT setval('shop.customers_id_seq', 1, false)", "SEQUENCE_BEHIND"),
        ("matview unpopulated", "REFRESH MATERIALIZED VIEW shop.totals WITH NO DATA", "MATVIEW_UNPOPULATED"),
        ("rows without their parent", "SET session_replication_role = replica; DELETE FROM shop.customers WHERE id < 9",
         "FOREIGN_KEY_ORPHANS"),
        ("table emptied", "TRUNCATE shop.documents", "ROW_COUNT_DROPPED"),
        ("most rows lost", "DELETE FROM shop.orders WHERE id % 10 > 0", "ROW_COUNT_DROPPED"),
    ),
    *_rows(
        "server",
        ("heap damaged", "a page of the largest table is overwritten", injected("heap_bytes"), "DATA_CORRUPT", OTHER),
        ("heap truncated", "most of the largest table's pages are cut off", injected("heap_truncated"), "DATA_CORRUPT", OTHER),
        ("heap removed", "the largest table's file is removed", injected("file_removed"), "DATA_CORRUPT", OTHER),
        ("control damaged", "pg_control is overwritten after the restore", injected("control_damaged"), "SERVER_START_FAILED",
         OTHER),
        ("fetched WAL removed", "the last fetched segment is removed", injected("wal_removed"), "RECOVERY_ENDED_EARLY", SAME),
        ("fetched WAL damaged", "the last fetched segment is overwritten", injected("wal_damaged"), "RECOVERY_ENDED_EARLY", SAME),
        ("sequence set back", "by the fault of that name", injected("sequence_back"), "SEQUENCE_BEHIND", OTHER),
        ("subscription enabled", "a subscription could run", injected(_SUBSCRIBING), "ARCHIVING_ON", SAME),
        ("heartbeat old", "the heartbeat is set back by a year", injected("heartbeat_old"), "RPO_EXCEEDED", SAME),
        ("archiving on", "the server archives", injected("archiving_on"), "ARCHIVING_ON", SAME),
        ("server killed", "the server is killed while it is checked", injected("server_killed"), "SERVER_DIED", SAME),
        ("server frozen", "the server answers nobody", injected("server_frozen", ("unreachable: 30s", "unreachable: 1s")),
         "SERVER_UNREACHABLE", SAME),
        ("query hangs", "a table stays locked", injected("table_locked", (_TIERS, "timeout: 8s, profile: full")), "STAGE_TIMEOUT",
         SAME),
    ),
    *_rows(
        "host",
        ("disk full", "the data directory's disk is too small", injected("disk_full"), "DISK_FULL", SAME),
        ("disk nearly full", "less disk than the limit", changed("unreachable: 30s", "disk_free: 1024TiB"), "DISK_LOW", SAME),
        ("memory short", "less memory than the limit", changed("unreachable: 30s", "memory_free: 1024TiB"), "MEMORY_LOW", SAME),
        ("place taken", "something else lies where the sandbox is to be", injected("provision_fails"), "WORKDIR_UNUSABLE", SAME),
        ("restore hangs", "the restore never ends", injected("stage_hangs", (_TIERS, "timeout: 3s, profile: full")),
         "STAGE_TIMEOUT", SAME),
        ("teardown fails", "somebody holds the sandbox", injected("teardown_fails"), "CLEANUP_FAILED", "primary with second"),
        ("programs missing", "no PostgreSQL where the tier says",
         changed("sandbox: {kind: process}, timeout: 3m, profile: full", "sandbox: {kind: process, bin: /nowhere}, " + _TIERS),
         "PROGRAMS_NOT_FOUND", SAME),
        ("smoke test fails", "what the spec asks is false", changed("count(*) > 0", "count(*) < 0"), "SMOKE_FAILED", OTHER),
        ("smoke test is wrong", "what the spec asks is no SQL", changed("SELECT count(*) > 0", "SELEKT"), "SMOKE_ERROR", SAME),
        ("too late", "the disaster was two hours after the last WAL", _late, "RPO_EXCEEDED", "secondary"),
        ("backups too old", "none is younger than the lookback", _old, "NO_CANDIDATE",
         "secondary"),
    ),
)  # fmt: skip
