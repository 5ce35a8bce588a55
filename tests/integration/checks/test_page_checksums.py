"""Pages that were really damaged, in files of every kind, on a server with checksums."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from airflow_dr_provider.checks.page_checksums import PageChecksumsCheck
from airflow_dr_provider.demo.production import DemoProduction, flip_byte
from airflow_dr_provider.domain.verdicts import Verdict
from tests.integration.checks.conftest import RICH, Cluster
from tests.unit.checks.contexts import outcome

pytestmark = pytest.mark.postgres

MORE = """
CREATE TABLE sales.notes (id int, body text, tags int[]);
ALTER TABLE sales.notes ALTER body SET STORAGE EXTERNAL;
INSERT INTO sales.notes SELECT n, repeat('n' || n, 2000), ARRAY[n, n + 1] FROM generate_series(1, 50) n;
CREATE INDEX notes_gin ON sales.notes USING gin (tags);
CREATE INDEX notes_brin ON sales.notes USING brin (id);
CREATE INDEX notes_hash ON sales.notes USING hash (id);
SELECT lo_from_bytea(4711, 'large');
VACUUM sales.orders, sales.notes;
"""


@pytest.fixture(scope="module", params=[15, 18])
def checked(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    folder = Path(tempfile.mkdtemp(prefix="dr-"))
    folder.chmod(0o755)
    with DemoProduction(folder, major=request.param, settings={"archive_mode": "off", "autovacuum": "off"}) as server:
        server.create(schema="CREATE DATABASE rich")
        server.sql(RICH, "rich")
        for statement in MORE.strip().split(";\n"):
            server.sql(statement, "rich")
        yield Cluster(server)
    shutil.rmtree(folder)


async def test_a_sound_cluster_passes(checked: Cluster) -> None:
    (result,) = await PageChecksumsCheck().run(checked.context("postgres", "rich"))
    assert result.verdict is Verdict.PASSED, result.detail
    assert result.measurements["pages"] > 2000
    assert not result.proves_data


@pytest.mark.parametrize(
    ("relation", "fork", "named"),
    [
        ("sales.orders", "", "sales.orders"),
        ("sales.orders_pkey", "", "sales.orders_pkey"),
        ("sales.notes_gin", "", "sales.notes_gin"),
        ("sales.notes_brin", "", "sales.notes_brin"),
        ("sales.notes_hash", "", "sales.notes_hash"),
        ("sales.numbers", "", "sales.numbers"),
        ("sales.totals", "", "sales.totals"),
        ("sales.orders", "_fsm", "fsm fork of sales.orders"),
        ("sales.orders", "_vm", "vm fork of sales.orders"),
        ("pg_toast", "", "pg_toast.pg_toast_"),
        ("pg_catalog.pg_largeobject", "", "pg_catalog.pg_largeobject"),
        ("pg_catalog.pg_description", "", "pg_catalog.pg_description"),
    ],
)
async def test_a_flipped_bit_anywhere_is_found(checked: Cluster, relation: str, fork: str, named: str) -> None:
    toast = "(SELECT reltoastrelid FROM pg_class WHERE oid = 'sales.notes'::regclass)"
    which = toast if relation == "pg_toast" else f"'{relation}'"
    checked.sql("CHECKPOINT", "rich")
    ((path,),) = checked.sql(f"SELECT pg_relation_filepath({which})", "rich")
    bad = checked.damaged("rich", relation if relation != "pg_toast" else "sales.notes", lambda _: None)
    # The copy's files have the same numbers in a folder of its own, and nobody has read this one yet.
    ((folder,),) = checked.sql(f"SELECT oid FROM pg_database WHERE datname = '{bad}'", "postgres")
    file = checked.server.data / "base" / str(folder) / (Path(path).name + fork)
    before = file.read_bytes()
    flip_byte(file, 8192 - 9)
    try:
        results = await PageChecksumsCheck().run(checked.context(bad))
        assert outcome(results) == (Verdict.FAILED, "PAGE_CHECKSUM_MISMATCH")
        assert named in results[0].detail
        assert bad in results[0].detail
    finally:
        file.write_bytes(before)
        checked.sql(f"DROP DATABASE {bad} WITH (FORCE)", "postgres")


async def test_each_bad_page_is_counted_and_a_lost_file_is_named(checked: Cluster) -> None:
    bad = checked.make()
    checked.sql("CHECKPOINT", "postgres")
    ((orders,), (customers,)) = checked.sql(
        "SELECT pg_relation_filepath(c.oid) FROM unnest('{sales.orders,sales.customers}'::regclass[]) c (oid)", bad
    )
    checked.server.stop()
    for page in (1, 3):
        flip_byte(checked.server.data / orders, page * 8192 + 5000)
    lost = checked.server.data / customers
    lost.rename(lost.with_name("away"))
    checked.server.start()
    try:
        (result,) = await PageChecksumsCheck().run(checked.context(bad))
        assert outcome((result,)) == (Verdict.FAILED, "PAGE_CHECKSUM_MISMATCH")
        assert sum("sales.orders " in name for name in result.facts["bad"]) == 2, result.facts
    finally:
        lost.with_name("away").rename(lost)
        checked.sql(f"DROP DATABASE {bad} WITH (FORCE)", "postgres")


async def test_without_checksums_it_says_so(cluster: Cluster, shop: str) -> None:
    (result,) = await PageChecksumsCheck().run(cluster.context(shop))
    assert outcome((result,)) == (Verdict.COULD_NOT_VERIFY, "NO_PAGE_CHECKSUMS")
    assert not result.required

    def garbage(file: Path) -> None:
        content = bytearray(file.read_bytes())
        content[8192 : 8192 + 64] = b"\xff" * 64
        file.write_bytes(content)

    results = await PageChecksumsCheck().run(cluster.context(cluster.damaged(shop, "sales.orders", garbage)))
    assert outcome(results) == (Verdict.FAILED, "DATA_CORRUPT")
