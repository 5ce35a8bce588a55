"""What is due and what a reading means: laws over generated ledgers, and each verdict both ways."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_dr_provider.domain.catalog import SegmentRange
from airflow_dr_provider.domain.reports import BackupFault
from airflow_dr_provider.domain.verification import (
    DueReason,
    ItemReport,
    RepositoryItem,
    Verified,
    due_reason,
    judged,
    rotating_share,
    vanished,
)

NOW = datetime(2026, 3, 1, 4, 0, tzinfo=UTC)
MONTH = timedelta(days=30)
FAULT = BackupFault(code="BACKUP_CHECKSUM_MISMATCH", path="x", detail="its checksum is not the manifest's")


def item(name: str = "backups/a/base/1", size: int = 100, stamp: str = "1", backup_id: str = "a") -> RepositoryItem:
    return RepositoryItem(name=name, size=size, stamp=stamp, backup_id=backup_id)


def segment(number: int = 7, stamp: str = "1") -> RepositoryItem:
    place = SegmentRange(timeline=1, first=number, last=number)
    return RepositoryItem(name=f"archive/{number}", size=16, stamp=stamp, segment=place)


def entry(of: RepositoryItem, *, days: float = 1, checksum: str = "sha256:a", **changes: object) -> Verified:
    values = {"compared": True, "verified_at": NOW - timedelta(days=days), "verified_by": "host", **changes}
    return Verified(item=of, checksum=checksum, **values)


def report(of: RepositoryItem, checksum: str = "sha256:a", **changes: object) -> ItemReport:
    return ItemReport(name=of.name, checksum=checksum, **{"compared": True, **changes})


def judge(of: RepositoryItem, known: Verified | None, read: ItemReport, finished: datetime | None = None) -> Verified:
    return judged(of, known, read, at=NOW, by="host", finished=finished)


# -- what is due -------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("known", "reason"),
    [
        (None, DueReason.NEW),
        (entry(item()), None),
        (entry(item(size=99)), DueReason.CHANGED),
        (entry(item(stamp="0")), DueReason.CHANGED),
        (entry(item(), fault=FAULT), DueReason.FAULTY),
        (entry(item(), unfinished=True), DueReason.UNFINISHED),
        (entry(item(), days=30), DueReason.EXPIRED),
        (entry(item(), days=29.99), None),
        (entry(item(), days=0), None),
        (entry(item(), days=-1), DueReason.EXPIRED),
    ],
)
def test_each_reason(known: Verified | None, reason: DueReason | None) -> None:
    assert due_reason(item(), known and known.mark, moment=NOW, reverify_after=MONTH) is reason
    assert due_reason(item(), known and known.mark, moment=NOW, reverify_after=MONTH, everything=True) is (
        reason or DueReason.ASKED
    )


SIZES = st.lists(st.integers(0, 1000), min_size=1, max_size=30)


def one_pass(
    items: list[RepositoryItem], ledger: dict[str, Verified], moment: datetime, share: int
) -> list[tuple[str, DueReason]]:
    """A pass as the stage makes it, in values: what was read, and the ledger after it."""
    read: list[tuple[str, DueReason]] = []

    def keep(of: RepositoryItem, reason: DueReason) -> None:
        read.append((of.name, reason))
        ledger[of.name] = judged(of, ledger.get(of.name), report(of), at=moment, by="host")

    for each in items:
        known = ledger.get(each.name)
        reason = due_reason(each, known and known.mark, moment=moment, reverify_after=MONTH)
        if reason is not None:
            keep(each, reason)
    oldest = sorted(
        (known for known in ledger.values() if known.verified_at < moment),
        key=lambda known: (known.verified_at, known.item.name),
    )
    for known in rotating_share(oldest, total_bytes=sum(each.size for each in items), share=share):
        keep(known.item, DueReason.ROTATED)
    return read


@given(sizes=SIZES, days=st.lists(st.integers(0, 40), min_size=1, max_size=8), share=st.integers(0, 100))
def test_laws_of_passes(sizes: list[int], days: list[int], share: int) -> None:
    """Whatever the passes: nothing is read twice in one, all is read within the time, the share is kept."""
    items = [item(f"i{number}", size) for number, size in enumerate(sizes)]
    total, ledger, moment = sum(sizes), {}, NOW
    for pause in days:
        moment += timedelta(days=pause, microseconds=1)  # no two passes begin at once
        read = one_pass(items, ledger, moment, share)
        names = [name for name, _ in read]
        assert len(set(names)) == len(names)
        assert all(moment - known.verified_at < MONTH for known in ledger.values())
        rotated = [ledger[name].item.size for name, reason in read if reason is DueReason.ROTATED]
        assert sum(rotated[:-1]) * 100 < max(total * share, 1) or not rotated
        if share == 0:
            assert rotated == []
        if share == 100 and total and pause:
            assert sum(ledger[name].item.size for name in names) == total


@given(sizes=SIZES, order=st.randoms(use_true_random=False), share=st.integers(0, 100))
def test_the_order_of_the_inventory_does_not_matter(sizes: list[int], order: object, share: int) -> None:
    items = [item(f"i{number}", size) for number, size in enumerate(sizes)]
    shuffled = list(items)
    order.shuffle(shuffled)  # type: ignore[attr-defined]
    ledgers: list[dict[str, Verified]] = []
    for listing in (items, shuffled):
        ledger = {each.name: entry(each, days=number % 40) for number, each in enumerate(items) if number % 3}
        read = one_pass(listing, ledger, NOW, share)
        ledgers.append({"read": sorted(read), **ledger})  # type: ignore[dict-item]
    assert ledgers[0] == ledgers[1]


@given(sizes=SIZES, share=st.integers(1, 100))
def test_the_longest_unread_comes_first(sizes: list[int], share: int) -> None:
    known = [entry(item(f"i{number}", size), days=60 - number) for number, size in enumerate(sizes)]
    chosen = list(rotating_share(iter(known), total_bytes=sum(sizes), share=share))
    assert chosen == known[: len(chosen)]


# -- what a reading means ----------------------------------------------------------------------------------------------
def test_a_sound_reading_is_kept_with_who_and_when() -> None:
    kept = judge(item(), None, report(item(), tool="pg_verifybackup 18.6"))
    assert (kept.checksum, kept.fault, kept.verified_at) == ("sha256:a", None, NOW)
    assert kept.verified_by == "host, pg_verifybackup 18.6"


def test_the_tools_fault_is_the_fault() -> None:
    kept = judge(item(), None, report(item(), fault=FAULT))
    assert (kept.fault, kept.checksum) == (FAULT, "")


@pytest.mark.parametrize("compared", [True, False])
def test_bytes_that_changed_under_the_same_stamp_are_a_fault(compared: bool) -> None:
    kept = judge(item(), entry(item(), compared=compared), report(item(), "sha256:b", compared=compared))
    assert kept.fault is not None
    assert (kept.fault.code, kept.checksum) == ("BACKUP_CHECKSUM_MISMATCH", "sha256:a")
    assert "2026-02-28" in kept.fault.detail
    later = judge(item(), kept, report(item(), "sha256:b", compared=compared))
    assert later.fault == kept.fault  # seen once, not forgotten, and with the day on which it was sound
    assert judge(item(), later, report(item(), compared=compared)).fault is None


def test_a_finished_backup_does_not_change() -> None:
    known, changed = entry(item()), item(stamp="2")
    finished = NOW - timedelta(days=3)
    assert judge(changed, known, report(changed), finished).fault is None  # touched, or copied to another disk
    fault = judge(changed, known, report(changed, "sha256:b"), finished).fault
    assert fault is not None
    assert "was finished at" in fault.detail


def test_another_backup_under_an_old_name_is_another_backup() -> None:
    changed = item(stamp="2")
    kept = judge(changed, entry(item(), fault=FAULT), report(changed, "sha256:b"), NOW - timedelta(hours=1))
    assert (kept.fault, kept.checksum) == (None, "sha256:b")


def test_an_archived_segment_does_not_change() -> None:
    changed = segment(stamp="2")
    assert judge(changed, entry(segment()), report(changed)).fault is None
    fault = judge(changed, entry(segment()), report(changed, "sha256:b")).fault
    assert fault is not None
    assert fault.code == "WAL_SEGMENT_DAMAGED"


def test_a_segment_that_was_not_whole_yet_may_become_whole() -> None:
    changed = segment(stamp="2")
    kept = judge(changed, entry(segment(), unfinished=True), report(changed, "sha256:b"))
    assert (kept.fault, kept.checksum) == (None, "sha256:b")


def test_checksums_of_two_kinds_say_nothing() -> None:
    assert judge(item(), entry(item(), checksum="sha1:a"), report(item(), "sha256:b")).fault is None


def test_what_vanished_from_a_backup_that_is_there_is_a_fault() -> None:
    fault = vanished(entry(item()), NOW - timedelta(days=3))
    assert fault is not None
    assert fault.code == "BACKUP_FILE_MISSING"
    assert vanished(entry(item(), fault=fault), NOW - timedelta(days=3)) == fault
    assert vanished(entry(item()), NOW) is None  # another backup under the same name
    extra = BackupFault(code="BACKUP_FILE_EXTRA", path="x", detail="")
    assert vanished(entry(item(), fault=extra), None) is None  # what should not have been there is gone
