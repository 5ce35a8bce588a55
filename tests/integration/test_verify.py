"""``airflow-dr verify`` on a real repository: what is read again, what is found and when, and what follows from it."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import tempfile
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from airflow_dr_provider.demo.production import flip_byte
from airflow_dr_provider.postgresql.programs import find_programs
from airflow_dr_provider.stages.damage import known_damage
from tests.support.drills import Bench, Repository, end

pytestmark = pytest.mark.postgres

NO_SHARE = "verification: {share: 0}\n"


def verify(bench: Bench, *arguments: str, code: int = 0) -> dict[str, Any]:
    """``airflow-dr verify --json``; its document."""
    done = bench.call("verify", str(bench.spec), "--json", *arguments)
    assert done.returncode == code, (done.returncode, done.stdout[-3000:], done.stderr[-3000:])
    assert "Traceback" not in done.stderr
    document: dict[str, Any] = json.loads(done.stdout)
    assert document["exit_code"] == code
    return document


def policy(bench: Bench, text: str = NO_SHARE) -> None:
    """Another ``verification`` part of the spec."""
    kept = [line for line in bench.spec.read_text().splitlines(keepends=True) if not line.startswith("verification:")]
    bench.spec.write_text("".join(kept) + text)


def biggest(bench: Bench, backup: str) -> Path:
    """The biggest relation file of a backup."""
    files = [path for path in (bench.backups / backup / "base").rglob("*") if path.is_file()]
    return max(files, key=lambda path: (path.stat().st_size, path.name))


def named(bench: Bench, path: Path) -> str:
    return str(path.relative_to(bench.folder))


def faults(document: dict[str, Any]) -> list[tuple[str, str]]:
    return [(fault["item"], fault["signature"]) for fault in document["faults"]]


def in_quarantine(bench: Bench) -> list[str]:
    done = bench.call("quarantine", "list", str(bench.spec), "--json")
    assert done.returncode == 0, done.stderr
    return [entry["backup_id"] for entry in json.loads(done.stdout)]


@pytest.fixture(scope="session")
def first_pass(repository: Repository) -> Iterator[Path]:
    """The state store after a first pass over the repository that every test gets a copy of."""
    folder = Path(tempfile.mkdtemp(prefix="dr-"))
    bench = Bench(folder=folder, disaster=repository.disaster)
    bench.write()
    for name in ("backups", "archive"):
        (folder / name).symlink_to(repository.folder / name)
    verify(bench)
    yield folder / "state.db"
    shutil.rmtree(folder)


@pytest.fixture
def verified(bench: Bench, first_pass: Path) -> Bench:
    """A bench whose repository was verified, and whose spec reads no share."""
    policy(bench)
    with sqlite3.connect(first_pass) as source, sqlite3.connect(bench.folder / "state.db") as copy:
        source.backup(copy)
        copy.execute("UPDATE dr_verified SET repository = ?", (f"basebackup:{bench.backups}",))
    source.close()
    copy.close()
    return bench


# -- what is read ------------------------------------------------------------------------------------------------------
def test_a_second_pass_reads_the_share_and_nothing_else(bench: Bench) -> None:
    first = verify(bench)
    assert (first["read"], first["unchanged"], first["faults"]) == ({"new": first["items"]}, 0, [])
    assert first["bytes_read"] == first["bytes"]
    second = verify(bench)
    assert set(second["read"]) == {"rotated"}
    assert second["bytes_read"] <= first["bytes"] // 100 + (16 << 20)
    assert second["unchanged"] + second["read"]["rotated"] == second["items"] == first["items"]
    policy(bench)
    assert verify(bench)["read"] == {}
    assert verify(bench, "--all")["read"] == {"asked": first["items"]}


def test_what_came_is_read_and_what_expired_is_forgotten(bench: Bench, repository: Repository) -> None:
    policy(bench)
    aside = bench.folder / "aside"
    (bench.backups / "third").rename(aside)
    first = verify(bench)
    aside.rename(bench.backups / "third")
    came = verify(bench)
    assert came["read"] == {"new": came["items"] - first["items"]}
    shutil.rmtree(bench.backups / "first")
    (bench.archive / "000000010000000000000001").unlink()
    expired = verify(bench)
    assert expired["read"] == {}
    assert expired["forgotten"] == came["items"] - expired["items"] > 900
    assert verify(bench)["forgotten"] == 0


def test_a_segment_on_its_way_is_read_until_it_has_arrived(verified: Bench, repository: Repository) -> None:
    bench = verified
    last = bench.archive / repository.facts["last_segment"]
    whole = last.read_bytes()
    os.truncate(last, 1 << 20)
    store = bench.store()
    store.ledger.forget(f"basebackup:{bench.backups}", [named(bench, last)])
    store.close()
    for reason in ("new", "unfinished"):
        document = verify(bench)
        assert (document["read"], document["faults"]) == ({reason: 1}, [])
    last.write_bytes(whole)
    assert verify(bench)["read"] == {"changed": 1}
    assert verify(bench)["read"] == {}


def test_chosen_backups_alone(bench: Bench) -> None:
    policy(bench)
    one = verify(bench, "--backup", "second")
    assert one["read"] == {"new": one["items"]}
    rest = verify(bench)
    assert rest["read"] == {"new": rest["items"] - one["items"]}
    assert verify(bench, "--backup", "second", "--all")["read"] == {"asked": one["items"]}
    none = verify(bench, "--backup", "fourth", code=2)
    assert "no backup fourth" in none["error"]["message"]
    assert "first, second, third" in none["error"]["message"]


# -- rot ---------------------------------------------------------------------------------------------------------------
def test_rot_under_an_old_stamp_is_found_when_its_turn_comes_and_not_before(verified: Bench) -> None:
    bench = verified
    rotten = biggest(bench, "third")
    flip_byte(rotten)  # keeps size and time of modification, as a disk does
    assert verify(bench)["read"] == {}
    policy(bench, "verification: {share: 100}\n")
    found = verify(bench, code=1)
    assert faults(found) == [(named(bench, rotten), "BACKUP_CHECKSUM_MISMATCH")]
    assert found["quarantined"] == ["third"]


def test_rot_is_found_after_reverify_after_at_the_latest(verified: Bench) -> None:
    bench = verified
    rotten = biggest(bench, "second")
    flip_byte(rotten)
    store = bench.store()
    name = named(bench, rotten)
    identity = f"basebackup:{bench.backups}"
    known = store.ledger.known(identity, [name])[name]
    store.ledger.keep(identity, [known.model_copy(update={"verified_at": known.verified_at - timedelta(days=30)})])
    store.close()
    found = verify(bench, code=1)
    assert found["read"] == {"expired": 1}
    assert faults(found) == [(name, "BACKUP_CHECKSUM_MISMATCH")]


def test_rot_is_found_by_asking_for_all(verified: Bench, repository: Repository) -> None:
    bench = verified
    segment = bench.archive / repository.facts["segment_after_first"]
    flip_byte(segment, (16 << 20) - 100)  # behind the segment's last record, where no checksum of WAL's own reaches
    assert verify(bench)["read"] == {}
    found = verify(bench, "--all", code=1)
    assert faults(found) == [(named(bench, segment), "WAL_SEGMENT_DAMAGED")]
    assert "size and its time of modification are the same" in found["faults"][0]["detail"]
    assert found["quarantined"] == []


def test_a_changed_file_is_found_at_once(verified: Bench) -> None:
    bench = verified
    touched, changed = bench.backups / "first" / "PG_VERSION", biggest(bench, "first")
    touched.touch()
    flip_byte(changed)
    changed.touch()
    found = verify(bench, code=1)
    assert found["read"] == {"changed": 2}
    assert faults(found) == [(named(bench, changed), "BACKUP_CHECKSUM_MISMATCH")]


def test_a_manifest_that_was_made_to_fit_is_found(verified: Bench) -> None:
    """Whoever changes a file and its manifest passes every comparison with the manifest."""
    bench = verified
    place = bench.backups / "third"
    victim, manifest = place / "pg_xact" / "0000", place / "backup_manifest"
    content = manifest.read_text()
    content = content[: content.rindex('"Manifest-Checksum"')]
    was = crc32c(victim.read_bytes())
    flip_byte(victim)
    assert f'"Checksum": "{was}"' in content
    content = content.replace(was, crc32c(victim.read_bytes()))
    manifest.write_text(f'{content}"Manifest-Checksum": "{hashlib.sha256(content.encode()).hexdigest()}"}}\n')
    programs = find_programs(18)
    done = subprocess.run([programs.path("pg_verifybackup"), "-n", str(place)], capture_output=True, check=False)
    assert done.returncode == 0
    found = verify(bench, code=1)
    assert faults(found) == [(named(bench, manifest), "BACKUP_CHECKSUM_MISMATCH")]
    assert {item for item, _ in faults(verify(bench, "--all", code=1))} == {named(bench, victim), named(bench, manifest)}
    assert found["quarantined"] == ["third"]


def crc32c(content: bytes) -> str:
    """A CRC-32C as manifests show it."""
    value = 0xFFFFFFFF
    for byte in content:
        value ^= byte
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
    return (value ^ 0xFFFFFFFF).to_bytes(4, "little").hex()


# -- what is wrong with a backup ---------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("harm", "signature"),
    [
        ("truncated", "BACKUP_FILE_SIZE"),
        ("missing", "BACKUP_FILE_MISSING"),
        ("extra", "BACKUP_FILE_EXTRA"),
        ("pipe", "BACKUP_FILE_MISSING"),
    ],
)
def test_a_fault_is_named_and_only_a_person_lifts_the_quarantine(verified: Bench, harm: str, signature: str) -> None:
    bench = verified
    victim = biggest(bench, "third")
    whole = bench.folder / "whole"
    shutil.copy2(victim, whole)
    if harm == "truncated":
        os.truncate(victim, 8192)
    elif harm == "extra":
        victim = victim.with_name("stranger")
        victim.write_text("?")
    else:
        victim.unlink()
        if harm == "pipe":
            os.mkfifo(victim)
    found = verify(bench, code=1)
    assert faults(found) == [(named(bench, victim), signature)]
    assert found["quarantined"] == in_quarantine(bench) == ["third"]
    assert faults(verify(bench, code=1)) == faults(found)
    victim.unlink(missing_ok=True)
    if harm != "extra":
        shutil.copy2(whole, victim)
    assert verify(bench)["faults"] == []
    assert in_quarantine(bench) == ["third"]
    lifted = bench.call("quarantine", "lift", str(bench.spec), "third")
    assert (lifted.returncode, lifted.stdout) == (0, "lifted third\n")
    assert in_quarantine(bench) == []
    again = bench.call("quarantine", "lift", str(bench.spec), "third")
    assert again.returncode == 2
    assert "Not in quarantine: third" in again.stderr


def test_a_quarantined_backup_is_passed_over_by_the_next_run(bench: Bench) -> None:
    flip_byte(biggest(bench, "third"))
    assert verify(bench, code=1)["quarantined"] == ["third"]
    document = bench.run()
    assert (document["outcome"], document["backup"], len(document["attempts"])) == ("RECOVERED", "second", 1)


def test_a_manifest_that_is_gone_is_missed(verified: Bench) -> None:
    bench = verified
    manifest = bench.backups / "third" / "backup_manifest"
    manifest.unlink()
    assert faults(verify(bench, code=1)) == [(named(bench, manifest), "BACKUP_FILE_MISSING")]
    assert faults(verify(bench, code=1)) == [(named(bench, manifest), "BACKUP_FILE_MISSING")]


# -- what is wrong with WAL --------------------------------------------------------------------------------------------
def test_a_damaged_segment_is_avoided_from_the_start(bench: Bench, repository: Repository) -> None:
    policy(bench)
    name = repository.facts["segment_after_third"]
    segment = bench.archive / name
    flip_byte(segment, 16384)
    found = verify(bench, code=1)
    assert faults(found) == [(f"archive/{name}", "WAL_SEGMENT_DAMAGED")]
    assert found["quarantined"] == []
    document = bench.run()
    assert len(document["attempts"]) == 1
    assert document["outcome"] == "RECOVERED_DEGRADED"
    assert any(finding["signature"] == "WAL_SEGMENT_DAMAGED" and name in finding["detail"] for finding in document["findings"])
    shutil.copy2(repository.folder / "archive" / name, segment)
    assert verify(bench)["faults"] == []
    store = bench.store()
    assert known_damage(store, f"basebackup:{bench.backups}") == ()
    store.close()
    assert bench.run("--new")["outcome"] == "RECOVERED"


# -- passes that end early ---------------------------------------------------------------------------------------------
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_killed_pass_goes_on_where_it_was(bench: Bench, number: signal.Signals) -> None:
    policy(bench)
    bench.store().close()
    command = bench.command("verify", str(bench.spec))
    process = subprocess.Popen(command, env=bench.env(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd="/")
    deadline = time.monotonic() + 60
    while not kept(bench) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)
    code = end(process, number)
    said = process.communicate()[1]
    if number == signal.SIGTERM:
        assert code == 128 + signal.SIGTERM
        assert "what was read is kept" in said
    before = kept(bench)
    later = verify(bench)
    assert 0 < before < later["items"]
    assert (later["read"], later["unchanged"]) == ({"new": later["items"] - before}, before)
    assert list(bench.folder.glob("dr-*")) == []


def kept(bench: Bench) -> int:
    """How many items the ledger has."""
    with sqlite3.connect(f"file:{bench.folder}/state.db?mode=ro", uri=True) as connection:
        return int(connection.execute("SELECT count(*) FROM dr_verified").fetchone()[0])


def test_what_can_not_be_verified_is_neither_sound_nor_faulty(bench: Bench) -> None:
    (bench.archive).rename(bench.folder / "elsewhere")
    assert verify(bench, code=2)["error"]["signature"] == "ARCHIVE_MISSING"


def test_the_summary_for_people(bench: Bench) -> None:
    policy(bench)
    done = bench.call("verify", str(bench.spec))
    assert done.returncode == 0
    assert "SOUND" in done.stdout
    assert "new)" in done.stdout
    flip_byte(biggest(bench, "third"))
    done = bench.call("verify", str(bench.spec), "--all")
    assert done.returncode == 1
    assert "FAULTS FOUND" in done.stdout
    assert f"✗ {named(bench, biggest(bench, 'third'))}: BACKUP_CHECKSUM_MISMATCH" in done.stdout
    assert "quarantine third" in done.stdout
