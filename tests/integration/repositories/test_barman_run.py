"""``airflow-dr run`` with a repository of Barman: from its catalog to a server that passed its gate."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.integration.repositories.barman_lab import BIN, Barman
from tests.support.drills import SECOND_TIER, Bench, spec_text

pytestmark = [
    pytest.mark.postgres,
    pytest.mark.skipif(shutil.which("rsync") is None, reason="Barman needs rsync"),
]


def bench_of(barman: Barman, server: str) -> Bench:
    """A spec, a state store and a work folder beside a copy of Barman's home."""
    made = Bench(folder=barman.folder, disaster=datetime.now(UTC))
    text = spec_text(more=SECOND_TIER)
    plain = "{kind: basebackup, backups: ./backups, archive: ./archive}"
    assert plain in text
    made.spec.write_text(text.replace(plain, f"{{kind: barman, server: {server}, config: ./barman.conf, bin: {BIN}}}"))
    return made


def test_a_sound_server_is_recovered(barman: Barman) -> None:
    bench = bench_of(barman, "main")
    document = bench.run()
    assert (document["outcome"], document["tier"], document["backup"]) == ("RECOVERED", "primary", barman.facts["step"])
    lost = (bench.disaster - barman.facts["heartbeat"]).total_seconds()
    assert document["achieved"]["rpo_seconds"] == pytest.approx(lost, abs=0.01)
    assert {finding["subject"] for finding in document["findings"]} == {"reference", f"backup {barman.facts['failed']}"}
    checks = {check["name"]: check["verdict"] for check in document["attempts"][0]["checks"]}
    assert checks["checksum"] == "PASSED"
    assert bench.left() == []


def test_an_older_backup_reaches_the_same_point(barman: Barman) -> None:
    """The newest backup that serves is damaged in the base of its chain: both are refused, and the target is kept."""
    barman.damage(barman.data("main", barman.facts["second"]) / "global" / "1262")
    document = bench_of(barman, "main").run()
    assert document["outcome"] == "RECOVERED_DEGRADED"
    assert document["backup"] == barman.facts["first"]
    assert document["attempts"][0]["signature"] == "BACKUP_CHECKSUM_MISMATCH"
    targets = [attempt["stages"][0]["facts"]["coordinate"]["target"] for attempt in document["attempts"]]
    assert targets == [targets[0]] * len(targets)


def test_a_copy_that_nothing_is_known_of_is_never_called_verified(barman: Barman) -> None:
    document = bench_of(barman, "copied").run()
    assert (document["outcome"], document["backup"]) == ("RECOVERED", barman.facts["copied"])
    checks = {check["name"]: check["verdict"] for check in document["attempts"][0]["checks"]}
    assert checks["checksum"] == "COULD_NOT_VERIFY"


def test_the_folder_is_the_spec_s(barman: Barman) -> None:
    document = bench_of(barman, "packed").run()
    assert document["outcome"] == "RECOVERED"
    assert str(Path(barman.config)) in str(document["spec"]["snapshot"])
