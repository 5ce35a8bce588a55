"""What pgBackRest says of a spoilt repository, and what is said of the same one here."""

from __future__ import annotations

import json
import re
import subprocess

import pytest

from airflow_dr_provider.domain.catalog import Catalog
from airflow_dr_provider.domain.continuity import holes, latest_timeline, reach
from airflow_dr_provider.domain.eligibility import Ineligibility, SelectionInputs
from airflow_dr_provider.domain.selection import SelectionTable, select
from airflow_dr_provider.domain.target import RecoveryTarget, ResolvedTarget
from airflow_dr_provider.postgresql.command import environment
from tests.integration.repositories.pgbackrest_lab import STANZA, StanzaCopy
from tests.integration.repositories.test_pgbackrest import range_of

pytestmark = pytest.mark.postgres


def told(copy: StanzaCopy, command: str) -> tuple[int, str]:
    """pgBackRest's exit code and what it prints."""
    done = subprocess.run(
        ["pgbackrest", f"--config={copy.config}", f"--stanza={STANZA}", "--repo=1", "--log-level-console=off",
         *(("--output=json",) if command == "info" else ("--output=text", "--verbose")), command],
        env=environment(), cwd="/", capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    return done.returncode, done.stdout


def verdicts(report: str) -> tuple[str, dict[str, str]]:
    """The status of the stanza, and that of each backup, in ``verify``'s text."""
    whole = re.search(r"^\s*status: (\w+)", report, re.MULTILINE)
    assert whole is not None, report
    return whole[1], dict(re.findall(r"backup: (\S+), status: ([a-z -]+),", report))


def choose(catalog: Catalog) -> SelectionTable:
    """The choice for the end of the way to the youngest timeline, without any limits."""
    timeline = latest_timeline(catalog)
    end = max(reach(catalog.archive, backup, timeline).end_lsn for backup in catalog.backups)
    moment = max(backup.stop_time for backup in catalog.backups if backup.stop_time is not None)
    return select(
        SelectionInputs(
            catalog=catalog,
            target=ResolvedTarget(timeline=timeline, lsn=type(end)(end - 1), requested=RecoveryTarget()),
            moment=moment,
            rpo_seconds=float("inf"),
            lookback_seconds=float("inf"),
        )
    )


def reasons(table: SelectionTable, label: str) -> set[Ineligibility]:
    row = next(row for row in table.rows if row.backup_id == label)
    return {code for code, _ in row.reasons}


async def test_trap_4_verify_ends_with_0_whatever_it_finds(stanza_copy: StanzaCopy) -> None:
    stanza_copy.damage(stanza_copy.files("full", "*.gz")[0])
    stanza_copy.manifest("newest").unlink()
    (stanza_copy.manifest("newest").parent / "backup.manifest.copy").unlink()
    code, report = told(stanza_copy, "verify")
    assert code == 0
    assert verdicts(report)[0] == "error"
    code, document = told(stanza_copy, "info")
    assert (code, json.loads(document)[0]["status"]["message"]) == (0, "ok")

    repository = stanza_copy.repository()
    catalog = await repository.catalog()
    assert catalog.backup(stanza_copy.label("newest")).flaws
    assert (await repository.verify(catalog.backup(stanza_copy.label("full")))).faults


async def test_trap_5_what_builds_on_a_damaged_backup_is_damaged(stanza_copy: StanzaCopy) -> None:
    """2.45 without bundles marks the dependents too; newer versions with bundles don't. Here each is read for itself."""
    path = next(path for path in stanza_copy.files("full", "*.gz") if path.parent.parent.name == "base")
    stanza_copy.damage(path)
    code, report = told(stanza_copy, "verify")
    assert code == 0
    assert verdicts(report)[1][stanza_copy.label("full")] == "invalid"
    repository = stanza_copy.repository()
    catalog = await repository.catalog()
    faulty = {backup.id: {fault.path for fault in (await repository.verify(backup)).faults} for backup in catalog.backups}
    name = path.name.removesuffix(".gz")
    for wanted in ("full", "diff", "incr"):
        assert [found.rpartition("/")[2] for found in faulty[stanza_copy.label(wanted)]] == [name]
    assert faulty[stanza_copy.label("newest")] == set()


async def test_trap_6_a_hole_is_called_ok(stanza_copy: StanzaCopy) -> None:
    facts = stanza_copy.source.facts
    stanza_copy.segment(facts["filler"]).unlink()
    code, report = told(stanza_copy, "verify")
    assert (code, verdicts(report)[0]) == (0, "ok")
    code, document = told(stanza_copy, "info")
    assert (code, json.loads(document)[0]["status"]["message"]) == (0, "ok")

    catalog = await stanza_copy.repository().catalog()
    hole = range_of(facts["filler"])
    assert holes(catalog) == (hole,)
    for backup in catalog.backups:
        assert reach(catalog.archive, backup, 1).hole == hole


async def test_trap_6_the_backup_s_own_wal_is_missing_and_it_is_called_valid(stanza_copy: StanzaCopy) -> None:
    (entry,) = (
        entry
        for entry in json.loads(told(stanza_copy, "info")[1])[0]["backup"]
        if entry["label"] == stanza_copy.label("newest")
    )
    stanza_copy.segment(entry["archive"]["start"]).unlink()
    code, report = told(stanza_copy, "verify")
    assert (code, verdicts(report)[0]) == (0, "ok")
    assert verdicts(report)[1][stanza_copy.label("newest")] == "valid"

    catalog = await stanza_copy.repository().catalog()
    table = choose(catalog)
    assert reasons(table, stanza_copy.label("newest")) & {
        Ineligibility.WAL_HOLE_BEFORE_CONSISTENCY, Ineligibility.WAL_ENDS_BEFORE_CONSISTENCY,
    }  # fmt: skip
    assert range_of(entry["archive"]["start"]) in holes(catalog)
