"""``airflow-dr run`` on real stanzas of pgBackRest: sound, spoilt, forked, and on an S3 server."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

import pytest

from tests.integration.repositories.pgbackrest_lab import STANZA, Stanza, StanzaCopy, copy_stanza
from tests.support.drills import SECOND_TIER, Bench, spec_text

pytestmark = pytest.mark.postgres

BASEBACKUP = "{kind: basebackup, backups: ./backups, archive: ./archive}"


@pytest.fixture
def benches(place: Path) -> Iterator[Callable[[Path, datetime], Bench]]:
    """A spec beside a configuration of pgBackRest; after the test nothing may be left of any drill."""
    made: list[Bench] = []

    def bench(config: Path, disaster: datetime) -> Bench:
        drill = Bench(folder=place, disaster=disaster)
        stanza = f"{{kind: pgbackrest, stanza: {STANZA}, config: {config}, repo: 1}}"
        drill.spec.write_text(spec_text(more=SECOND_TIER).replace(BASEBACKUP, stanza))
        made.append(drill)
        return drill

    yield bench
    assert [line for drill in made for line in drill.left()] == []


def test_a_sound_stanza_is_recovered(stanza_copy: StanzaCopy, benches: Callable[[Path, datetime], Bench]) -> None:
    document = benches(stanza_copy.config, stanza_copy.source.facts["moment"]).run()
    assert (document["outcome"], document["backup"]) == ("RECOVERED", stanza_copy.label("newest")), document
    assert document["attempts"][0]["stages"][3]["facts"]["files"]["verified"] is True
    assert document["achieved"]["rpo_source"] == "heartbeat"


def test_a_damaged_newest_backup_falls_back_to_an_older_one(
    stanza_copy: StanzaCopy, benches: Callable[[Path, datetime], Bench]
) -> None:
    stanza_copy.damage(stanza_copy.files("newest", "bundle/*")[0])
    document = benches(stanza_copy.config, stanza_copy.source.facts["moment"]).run()
    assert document["outcome"] == "RECOVERED_DEGRADED", document
    assert (document["tier"], document["backup"]) == ("secondary", stanza_copy.label("incr"))
    first, second = document["attempts"]
    assert first["candidate"] == stanza_copy.label("newest")
    assert first["signature"] in ("BACKUP_CHECKSUM_MISMATCH", "BACKUP_UNREADABLE")
    assert "recovery" not in first["stages"][3]["facts"]
    targets = [attempt["stages"][0]["facts"]["coordinate"]["target"] for attempt in (first, second)]
    assert targets[0] == targets[1]


def test_a_deleted_segment_ends_the_way_and_a_cut_manifest_its_backup(
    stanza_copy: StanzaCopy, benches: Callable[[Path, datetime], Bench]
) -> None:
    facts = stanza_copy.source.facts
    stanza_copy.segment(facts["filler"]).unlink()
    path = stanza_copy.own(stanza_copy.manifest("newest"))
    path.write_bytes(path.read_bytes()[:-100])
    document = benches(stanza_copy.config, facts["moment"]).run()
    assert (document["outcome"], document["backup"]) == ("RECOVERED_DEGRADED", stanza_copy.label("incr")), document
    assert any(finding["signature"] == "WAL_HOLE" and facts["filler"] in finding["detail"] for finding in document["findings"])
    assert any(stanza_copy.label("newest") in finding["subject"] for finding in document["findings"])
    size = 1 << 20
    assert int(document["target"]["lsn"].partition("/")[2], 16) // size == int(facts["filler"][16:], 16) - 1


def test_a_fork_is_followed(posix_stanza: Stanza, place: Path, benches: Callable[[Path, datetime], Bench]) -> None:
    copy = copy_stanza(posix_stanza, place, "forked")
    document = benches(copy.config, posix_stanza.facts["fork_moment"]).run()
    assert (document["outcome"], document["target"]["timeline"]) == ("RECOVERED", 2), document


def test_a_stanza_on_s3_is_recovered(s3_stanza: Stanza, benches: Callable[[Path, datetime], Bench]) -> None:
    document = benches(s3_stanza.config, s3_stanza.facts["moment"]).run()
    assert (document["outcome"], document["backup"]) == ("RECOVERED", s3_stanza.labels["full"]), document
    assert any(s3_stanza.labels["flagged"] in finding["subject"] for finding in document["findings"])


def test_a_plan_names_what_is_wrong(posix_stanza: Stanza, place: Path, benches: Callable[[Path, datetime], Bench]) -> None:
    """A deleted segment, a cut manifest, a full backup without one, and a fork."""
    copy, facts = copy_stanza(posix_stanza, place, "forked"), posix_stanza.facts
    copy.segment(facts["between"]).unlink()
    path = copy.own(copy.manifest("incr"))
    path.write_bytes(path.read_bytes()[:-1])
    copy.manifest("full").unlink()
    drill = benches(copy.config, facts["fork_moment"])
    done = drill.call("plan", str(drill.spec), "--json", "--as-of", facts["fork_moment"].isoformat())
    assert done.returncode == 0, done.stderr
    plan = json.loads(done.stdout)
    reasons = {row["id"]: set(row["reasons"]) for row in plan["candidates"]}
    assert reasons[copy.label("full")] >= {"no_manifest"}
    assert reasons[copy.label("diff")] >= {"base_flawed"}
    assert reasons[copy.label("incr")] >= {"manifest_damaged", "base_flawed", "wal_hole_before_target"}
    assert reasons[copy.label("newest")] == set()
    assert {tier["candidate"] for tier in plan["tiers"]} == {copy.label("newest")}
