"""Which backups are news."""

from __future__ import annotations

from datetime import timedelta

from airflow_dr_provider.domain.announcement import KEPT, Announced, announce, due_by_backups
from airflow_dr_provider.domain.catalog import BackupFlaw
from airflow_dr_provider.domain.restorable import Standing, standings
from tests.unit.domain.builders import NOON, archive, backup, catalog, segments

LATER = NOON + timedelta(minutes=15)


def found(*names: str, broken: tuple[str, ...] = ()) -> tuple[Standing, ...]:
    """The standings of backups that begin one segment after the other."""
    backups = [
        backup(name, index + 1, flaws=(BackupFlaw.ERROR_FLAG,) if name in broken else ()) for index, name in enumerate(names)
    ]
    inventory = catalog(archive(segments(1, 1, 40)), *backups)
    return standings(inventory, 1, moment=NOON, lookback_seconds=7 * 86400.0, quarantined={})


def say(
    before: Announced | None, standing: tuple[Standing, ...], *, by: str = "a", held: bool = False
) -> tuple[Announced, list[str]]:
    now, news = announce(before, standing, by=by, moment=NOON, held=held)
    return now, [one.id for one in news]


def test_what_is_there_at_first_is_no_news() -> None:
    assert say(None, found("one", "two"))[1] == []


def test_each_new_one_is_news_once() -> None:
    first, _ = say(None, found("one"))
    second, news = say(first, found("one", "two", "three"), by="b")
    assert news == ["two", "three"]
    assert say(second, found("one", "two", "three"), by="c")[1] == []


def test_a_backup_is_news_when_recovery_can_begin_with_it() -> None:
    first, _ = say(None, found("one"))
    broken, news = say(first, found("one", "two", broken=("two",)), by="b")
    assert news == []
    assert say(broken, found("one", "two"), by="c")[1] == ["two"]


def test_one_that_could_not_be_used_for_a_while_is_no_news() -> None:
    first, _ = say(None, found("one"))
    second, _ = say(first, found("one", broken=("one",)), by="b")
    assert say(second, found("one"), by="c")[1] == []


def test_what_is_gone_is_forgotten() -> None:
    first, _ = say(None, found("one", "two"))
    assert say(first, found("two"), by="b")[0].known == ("two",)


def test_news_wait_for_the_end_of_a_blackout() -> None:
    first, _ = say(None, found("one"))
    held, news = say(first, found("one", "two"), by="b", held=True)
    assert news == []
    assert say(held, found("one", "two"), by="c")[1] == ["two"]


def test_a_task_that_is_tried_again_says_the_same_again() -> None:
    first, _ = say(None, found("one"))
    second, _ = say(first, found("one", "two"), by="b")
    again, news = say(second, found("one", "two", "three"), by="b")
    assert news == ["two", "three"]
    assert [entry.backup.id for entry in again.last] == ["two", "three"]
    assert say(again, found("one", "two", "three"), by="c")[1] == []


def test_a_bounded_memory_forgets_no_backup() -> None:
    names = tuple(f"backup{number:02}" for number in range(KEPT + 5))
    first, _ = say(None, ())
    second, news = say(first, found(*names), by="b")
    assert len(news) == KEPT + 5
    assert len(second.last) == KEPT
    assert say(second, found(*names), by="c")[1] == []


def test_when_a_drill_was_due() -> None:
    first, _ = say(None, found("one"))
    second, _ = announce(first, found("one", "two", "three"), by="b", moment=NOON, held=False)
    third, _ = announce(second, found("one", "two", "three", "four"), by="c", moment=LATER, held=False)
    assert due_by_backups(third, LATER) == (LATER, NOON)
    assert due_by_backups(third, LATER - timedelta(seconds=1)) == (NOON,)
    assert due_by_backups(None, LATER) == ()


def test_it_reads_back() -> None:
    first, _ = say(None, found("one"))
    second, _ = say(first, found("one", "two"))
    assert Announced.model_validate_json(second.model_dump_json()) == second
