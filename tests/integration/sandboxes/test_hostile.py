"""Backups that bring orders, and productions that are not as one expects them."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from airflow_dr_provider.demo.production import DemoProduction
from airflow_dr_provider.domain.lsn import Lsn
from airflow_dr_provider.errors import BackupError, SandboxError
from airflow_dr_provider.sandboxes.process import ProcessSandbox
from tests.integration.sandboxes.scene import (
    SEGMENT_SIZE,
    Isolation,
    Scene,
    Settings,
    free_port,
    new_folder,
    remove,
)
from tests.integration.sandboxes.test_recovery import ask

pytestmark = pytest.mark.postgres
WITNESS = "witness"
ORDERS = """
archive_mode = on
archive_command = 'touch {witness}; true'
archive_cleanup_command = 'touch {witness}'
recovery_end_command = 'touch {witness}'
restore_command = 'touch {witness}; false'
ssl_passphrase_command = 'touch {witness}'
listen_addresses = '*'
port = {port}
unix_socket_directories = '{folder}'
primary_conninfo = 'host=127.0.0.1 port={port} password=hunter2'
primary_slot_name = 'slot'
synchronous_standby_names = '*'
shared_preload_libraries = 'no_such_library,auto_explain,pg_stat_statements'
session_preload_libraries = 'no_such_library'
recovery_target_action = 'shutdown'
recovery_target_name = 'elsewhere'
include_if_exists = '{folder}/more.conf'
logging_collector = on
"""


async def test_orders_in_the_files_are_not_obeyed(scene: Scene, sandbox: ProcessSandbox, place: Path) -> None:
    """Settings, access rules, signals, triggers, slots and maps that lie in the backup."""
    place.chmod(0o777)
    witness, coordinate = place / WITNESS, scene.coordinate()
    adapter = ProcessSandbox(
        Settings(libraries=["pg_stat_statements", "pg_prewarm"]), workdir=Path(sandbox.handle("x").place).parent
    )
    handle = await adapter.provision(adapter.handle("drill-1"), coordinate)
    scene.restore(adapter, handle)
    data = adapter.data_directory(handle)
    orders = ORDERS.format(witness=witness, port=free_port(), folder=place)
    for name in ("postgresql.conf", "postgresql.auto.conf"):
        with (data / name).open("a") as file:
            file.write(orders)
    (data / "pg_hba.conf").write_text("host all all all trust\nlocal all all trust\n")
    (data / "recovery.conf").write_text("standby_mode = on\n")
    (data / "tablespace_map").write_text("")
    for name in ("standby.signal", "promote", "postmaster.pid", "postmaster.opts"):
        (data / name).touch()
    (data / "pg_replslot" / "slot").mkdir()
    handle, recovery = await adapter.recover(handle, coordinate)
    assert recovery.settings["shared_preload_libraries"] == "pg_stat_statements"
    assert await ask(adapter, handle, "SELECT count(*) FROM t") == [(scene.rows,)]
    told = await ask(adapter, handle, "SELECT count(*) FROM pg_settings WHERE sourcefile !~ '/conf/postgresql.conf$'")
    assert told == [(0,)]
    assert await ask(adapter, handle, "SELECT count(*) FROM pg_replication_slots") == [(0,)]
    await ask(adapter, handle, "SELECT pg_switch_wal()")
    assert sorted(path.name for path in place.iterdir()) == []
    assert "hunter2" not in await adapter.log_tail(handle, 1000)
    assert await adapter.destroy(handle) == ()


# -- an odd production -------------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def odd() -> Iterator[Scene]:
    """Its superuser and its database have other names, a tablespace lies elsewhere, roles and databases have orders; and after
    the backup it makes another tablespace and takes more connections.
    """
    folder = new_folder("dr-odd-")
    with DemoProduction(folder) as production:
        production.create(initdb=(f"--wal-segsize={SEGMENT_SIZE >> 20}",))
        for name in ("before", "after", "backup"):
            (folder / name).mkdir()
            production.account.own(folder / name)
        production.sql(f"CREATE TABLESPACE before LOCATION '{folder}/before'")
        production.sql("CREATE TABLE here TABLESPACE before AS SELECT n FROM generate_series(1, 50) n")
        production.sql("CREATE ROLE boss SUPERUSER; CREATE ROLE nologin SUPERUSER NOLOGIN")
        production.sql('CREATE ROLE "Ada, the boss" SUPERUSER LOGIN; ALTER ROLE postgres NOLOGIN')
        boss: dict[str, Any] = {
            "host": str(production.socket),
            "port": production.port,
            "user": "Ada, the boss",
            "autocommit": True,
        }
        with psycopg.connect(dbname="postgres", **boss) as connection:
            for order in (
                "CREATE DATABASE shop",
                "ALTER DATABASE template1 SET session_preload_libraries = 'no_such_library'",
                "ALTER DATABASE template1 SET default_transaction_isolation = 'serializable'",
                "ALTER DATABASE template1 SET default_transaction_read_only = on",
                "ALTER DATABASE template1 SET role = 'nologin'",
                "ALTER ROLE ALL SET datestyle = 'SQL, DMY'",
                "ALTER ROLE ALL SET intervalstyle = 'iso_8601'",
                "ALTER ROLE ALL SET statement_timeout = '1ms'",
                "ALTER ROLE \"Ada, the boss\" SET session_preload_libraries = 'no_such_library'",
                "ALTER ROLE ALL SET zero_damaged_pages = on",
            ):
                connection.execute(order.encode(), prepare=False)
        quiet = {**boss, "options": "-c session_preload_libraries= -c statement_timeout=0"}
        for database in ("shop", "postgres"):
            with psycopg.connect(dbname=database, **quiet) as connection:
                connection.execute(
                    "CREATE FUNCTION refuse() RETURNS event_trigger LANGUAGE plpgsql AS "
                    "$$ BEGIN RAISE EXCEPTION 'nobody logs in'; END $$"
                )
        arguments = ("-h", str(production.socket), "-p", str(production.port), "-c", "fast", "--no-sync")
        with psycopg.connect(dbname="shop", **quiet) as connection:
            connection.execute("DROP DATABASE postgres WITH (FORCE)")
            connection.execute("CREATE EVENT TRIGGER refuse ON login EXECUTE FUNCTION refuse()")
            connection.execute("ALTER EVENT TRIGGER refuse ENABLE ALWAYS")
        quiet["options"] += " -c event_triggers=off"
        mapping = f"--tablespace-mapping={folder}/before={folder}/backup/elsewhere"
        production.backups.joinpath("base").parent.mkdir(exist_ok=True)
        production.run("pg_basebackup", *arguments, "-d", f"dbname=template1 user='Ada, the boss' options='{quiet['options']}'",
                       "-D", str(production.backups / "base"), mapping)  # fmt: skip
        with psycopg.connect(dbname="shop", **quiet) as connection:
            connection.execute(f"CREATE TABLESPACE after LOCATION '{folder}/after'".encode())
            connection.execute("CREATE TABLE there TABLESPACE after AS SELECT n FROM generate_series(1, 70) n")
        production.stop()
        with (production.data / "postgresql.conf").open("a") as file:
            file.write("max_connections = 333\nmax_prepared_transactions = 5\nmax_locks_per_transaction = 99\n")
        production.connect = lambda database="shop": psycopg.connect(dbname="shop", **quiet)  # type: ignore[method-assign]
        production.start()
        with psycopg.connect(dbname="shop", **quiet) as connection:
            connection.execute("INSERT INTO there VALUES (0)")
            row = connection.execute("SELECT pg_logical_emit_message(true, 'dr', 'target')").fetchone()
            connection.execute("INSERT INTO there VALUES (1), (2)")
            connection.execute("SELECT pg_switch_wal()")
        production.switch_wal()
        assert row is not None
        yield Scene(production=production, target=Lsn(str(row[0])), rows=71, next_transaction=0)
    remove(folder)


async def prepared(odd: Scene, sandbox: ProcessSandbox) -> None:
    handle = await sandbox.provision(sandbox.handle("drill-1"), odd.coordinate())
    odd.restore(sandbox, handle)
    data = sandbox.data_directory(handle)
    for link in (data / "pg_tblspc").iterdir():
        # What an adapter does with a tablespace: beside the data directory, and the link set to it.
        moved = data.with_name("data.tablespaces") / link.name
        shutil.copytree(odd.folder / "backup" / "elsewhere", moved)
        link.unlink()
        link.symlink_to(moved)


async def test_an_odd_production_is_recovered(odd: Scene, sandbox: ProcessSandbox) -> None:
    """Found a superuser, got over each obstacle, listened to no order, and left production's tablespaces as they were."""
    await prepared(odd, sandbox)
    before = sorted(path.name for path in (odd.folder / "after").rglob("*"))
    handle, recovery = await sandbox.recover(
        await sandbox.provision(sandbox.handle("drill-1"), odd.coordinate()), odd.coordinate()
    )
    async with await sandbox.connect(handle, "shop") as connection:
        counted = await (await connection.execute("SELECT (SELECT count(*) FROM there)")).fetchone()
        assert counted == (odd.rows,)
        shown = await (
            await connection.execute(
                "SELECT current_setting('session_preload_libraries'), current_setting('statement_timeout'), "
                "current_setting('zero_damaged_pages'), current_setting('max_connections')"
            )
        ).fetchone()
        assert shown == ("", "0", "off", "333")
    async with await sandbox.connect(handle, "shop", role="smoke") as connection:
        assert await (await connection.execute("SELECT current_setting('statement_timeout')")).fetchone() == ("0",)
    async with await sandbox.connect(handle, "template1") as connection:
        await connection.execute("SELECT 1")
    assert recovery.reached
    assert sorted(path.name for path in (odd.folder / "after").rglob("*")) == before
    assert await sandbox.destroy(handle) == ()


async def test_a_tablespace_made_meanwhile_is_refused_without_a_root_of_its_own(odd: Scene, workdir: Path) -> None:
    """Replayed where the host's files are in sight, it would empty production's."""
    sandbox = ProcessSandbox(Settings(isolation="off"), workdir=workdir)
    await prepared(odd, sandbox)
    before = sorted(path.name for path in (odd.folder / "after").rglob("*"))
    with pytest.raises(SandboxError, match=f"{odd.folder}/after") as raised:
        await sandbox.recover(sandbox.handle("drill-1"), odd.coordinate())
    assert raised.value.code == "ISOLATION_UNAVAILABLE"
    assert sorted(path.name for path in (odd.folder / "after").rglob("*")) == before
    assert await sandbox.destroy(sandbox.handle("drill-1")) == ()


@pytest.mark.parametrize("isolation", ["required", "off"])
async def test_a_tablespace_that_still_lies_elsewhere_is_refused(odd: Scene, workdir: Path, isolation: Isolation) -> None:
    """A link to a folder outside of the sandbox, as pg_basebackup leaves it: maybe production's own."""
    sandbox = ProcessSandbox(Settings(isolation=isolation), workdir=workdir)
    coordinate = odd.coordinate(target={"lsn": odd.target})
    handle = await sandbox.provision(sandbox.handle("drill-1"), coordinate)
    odd.restore(sandbox, handle)
    for path in sandbox.wal_directory(handle).iterdir():
        path.unlink()
    with pytest.raises(BackupError, match="outside of the sandbox"):
        await sandbox.recover(handle, coordinate)
    assert await sandbox.destroy(handle) == ()
