"""What a catalog says is wrong, and what of it a person has acknowledged."""

from __future__ import annotations

import pytest

from airflow_dr_provider.domain.acknowledgement import Acknowledgement
from airflow_dr_provider.domain.catalog import BackupFlaw, Catalog
from airflow_dr_provider.domain.wal import segment_name
from airflow_dr_provider.stages.inputs import Finding
from airflow_dr_provider.stages.open_run import catalog_findings
from tests.unit.domain.builders import SIZE, archive, backup, catalog, segments

HOLED = catalog(
    archive(segments(1, 1, 8), segments(1, 11, 20), flawed=(segments(1, 15),)),
    backup("a", 2),
    backup("z", 4, flaws=(BackupFlaw.NO_MANIFEST,), note="it is gone"),
    notes=("a stray file",),
)


def known(first: int, last: int) -> tuple[Acknowledgement, ...]:
    return (Acknowledgement(first=name(first), last=name(last), reason="the disk"),)


def name(number: int) -> str:
    return segment_name(1, number, SIZE)


def of(found: tuple[Finding, ...], signature: str) -> list[str]:
    return [finding.detail for finding in found if finding.signature == signature]


def test_everything_that_is_wrong() -> None:
    found = catalog_findings(HOLED)
    assert of(found, "WAL_HOLE") == [f"hole: {name(9)} to {name(10)}", f"hole: {name(15)}"]
    assert of(found, "WAL_SEGMENT_DAMAGED") == [f"unusable: {name(15)}"]
    assert [finding.subject for finding in found if finding.signature is None] == ["backup z", "repository"]
    assert catalog_findings(Catalog(identity="x", backups=(backup("a", 2),), archive=archive(segments(1, 1, 9)))) == ()


@pytest.mark.parametrize(
    ("acknowledged", "left"),
    [
        (known(9, 10), [f"hole: {name(15)}"]),
        (known(9, 9), [f"hole: {name(9)} to {name(10)}, of which {name(10)} was not acknowledged", f"hole: {name(15)}"]),
        (known(1, 8), [f"hole: {name(9)} to {name(10)}", f"hole: {name(15)}"]),
        (known(1, 20), []),
    ],
)
def test_a_known_hole_is_no_finding(acknowledged: tuple[Acknowledgement, ...], left: list[str]) -> None:
    found = catalog_findings(HOLED, acknowledged)
    assert of(found, "WAL_HOLE") == left
    assert of(found, "WAL_SEGMENT_DAMAGED") == ([f"unusable: {name(15)}"] if left else [])
    assert any(finding.subject == "backup z" for finding in found)  # a backup is no hole
