"""Quarantine spreads from a backup to what builds on it, and no further: over generated chains of every shape."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_dr_provider.domain.catalog import Backup, BackupFlaw, BackupKind
from airflow_dr_provider.domain.selection import Ineligibility, Row, select
from tests.unit.domain.builders import archive, backup, inputs, segments, target

WAL = archive(segments(1, 1, 60))
TO = target(59.5)


@st.composite
def repositories(draw: st.DrawFn) -> tuple[tuple[Backup, ...], dict[str, str | None]]:
    """Backups one after the other, and what each builds on directly: nothing, a full one, or any earlier one."""
    made: list[Backup] = []
    parents: dict[str, str | None] = {}
    for number in range(draw(st.integers(1, 9))):
        name = f"b{number}"
        fulls = [earlier for earlier in made if earlier.kind is BackupKind.FULL]
        kind = draw(st.sampled_from(list(BackupKind))) if fulls else BackupKind.FULL
        base = None
        if kind is not BackupKind.FULL:
            base = draw(st.sampled_from(fulls if kind is BackupKind.DIFFERENTIAL else made))
        chain = (base.id, *base.chain) if base is not None else ()
        parents[name] = base.id if base is not None else None
        made.append(backup(name, 2 + 5 * number, kind=kind, chain=chain))
    return tuple(draw(st.permutations(made))), parents


def builds_on(name: str, cause: str, parents: dict[str, str | None]) -> bool:
    """Whether a backup needs another one, or is it."""
    at: str | None = name
    while at is not None and at != cause:
        at = parents[at]
    return at == cause


def rows(backups: tuple[Backup, ...], **memory: Any) -> dict[str, Row]:
    return {row.backup_id: row for row in select(inputs(WAL, *backups, to=TO, **memory)).rows}


@given(repositories(), st.data(), st.sampled_from(["quarantined", "refused"]))
def test_memory_spreads_down_the_chain_and_no_further(
    made: tuple[tuple[Backup, ...], dict[str, str | None]], data: st.DataObject, memory: str
) -> None:
    backups, parents = made
    causes = data.draw(st.sets(st.sampled_from(sorted(parents))))
    before = rows(backups)
    after = rows(backups, **{memory: dict.fromkeys(causes, "BACKUP_CHECKSUM_MISMATCH")})
    assert all(row.eligible for row in before.values())
    for name, row in after.items():
        struck = any(builds_on(name, cause, parents) for cause in causes)
        assert [code for code, _ in row.reasons] == ([Ineligibility(memory)] if struck else [])
        if not struck:
            assert row == before[name]  # neither its score nor anything else of it is touched


@given(repositories(), st.data())
def test_a_flaw_bars_what_builds_on_it_and_no_more(
    made: tuple[tuple[Backup, ...], dict[str, str | None]], data: st.DataObject
) -> None:
    backups, parents = made
    cause = data.draw(st.sampled_from(sorted(parents)))
    flawed = tuple(
        found.model_copy(update={"flaws": (BackupFlaw.ERROR_FLAG,)}) if found.id == cause else found for found in backups
    )
    for name, row in rows(flawed).items():
        expected = Ineligibility.ERROR_FLAG if name == cause else Ineligibility.BASE_FLAWED
        assert [code for code, _ in row.reasons] == ([expected] if builds_on(name, cause, parents) else [])


@given(repositories(), st.data())
def test_a_lost_base_bars_what_builds_on_it_and_no_more(
    made: tuple[tuple[Backup, ...], dict[str, str | None]], data: st.DataObject
) -> None:
    backups, parents = made
    cause = data.draw(st.sampled_from(sorted(parents)))
    for name, row in rows(tuple(found for found in backups if found.id != cause)).items():
        expected = [Ineligibility.BASE_MISSING] if builds_on(name, cause, parents) else []
        assert [code for code, _ in row.reasons] == expected


@pytest.mark.parametrize(
    ("damaged", "out"),
    [
        ("full", {"full", "diff", "incr", "late"}),
        ("diff", {"diff", "late"}),
        ("incr", {"incr"}),
        ("late", {"late"}),
        ("other", {"other"}),
    ],
)
def test_by_hand(damaged: str, out: set[str]) -> None:
    backups = (
        backup("full", 2),
        backup("diff", 8, kind=BackupKind.DIFFERENTIAL, chain=("full",)),
        backup("incr", 6, kind=BackupKind.INCREMENTAL, chain=("full",)),
        backup("late", 10, kind=BackupKind.INCREMENTAL, chain=("diff", "full")),
        backup("other", 4),
    )
    found = rows(backups, quarantined={damaged: "BACKUP_FILE_MISSING"})
    assert {name for name, row in found.items() if not row.eligible} == out
