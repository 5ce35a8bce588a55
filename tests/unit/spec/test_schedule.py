"""A schedule as people write it."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from airflow_dr_provider.domain.cadence import Cadence, CronWindow, Period, WeeklyWindow
from airflow_dr_provider.errors import SpecError
from airflow_dr_provider.spec.loader import load_text, spec_digest, spec_from_snapshot, spec_snapshot
from airflow_dr_provider.spec.models import DrillSpec
from airflow_dr_provider.spec.schema import json_schema

HEAD = """\
version: 1
drill: orders
objectives: {rto: 30m, rpo: 1h, mtd: 4h}
source: {repository: {kind: basebackup, backups: ./backups, archive: ./archive}}
tiers: [{name: primary, role: staging, sandbox: {kind: process}, timeout: 10m}]
"""


def spec(schedule: str) -> DrillSpec:
    return load_text(f"{HEAD}schedule: {schedule}\n", source="orders.yaml", base=Path("/drills"))


def cadence(schedule: str) -> Cadence:
    found = spec(schedule).cadence
    assert found is not None
    return found


def refused(schedule: str) -> list[str]:
    with pytest.raises(SpecError) as caught:
        spec(schedule)
    return caught.value.message.splitlines()


def weekly(text: str) -> tuple[tuple[int, ...], int, int]:
    (window,) = cadence(f'{{cron: "0 3 * * *", blackout: ["{text}"]}}').blackouts
    assert isinstance(window, WeeklyWindow)
    return window.days, window.begin, window.end


def test_one_cron_is_what_it_was() -> None:
    assert spec('"0 3 * * *"').schedule == "0 3 * * *"
    assert cadence('"0 3 * * *"') == Cadence(crons=("0 3 * * *",))
    assert cadence('"@weekly"').crons == ("0 0 * * 0",)
    assert spec("null").cadence is None


def test_everything_at_once() -> None:
    found = cadence(
        "{cron: ['0 3 * * *', '@weekly'], after_backup: true, jitter: 15m, timezone: Europe/Berlin, blackout: ["
        "{from: '2026-12-20', to: '2027-01-06', reason: freeze}, {from: '2026-05-01T18:00', to: '2026-05-02T06:00+00:00'}, "
        "'Sat 00:00-06:00', {weekly: daily 12:00-13:00, timezone: UTC}, {cron: '0 0 1 * *', lasts: 6h}]}"
    )
    assert found.crons == ("0 3 * * *", "0 0 * * 0")
    assert found.after_backup
    assert (found.timezone, found.offset_seconds) == ("Europe/Berlin", 88)
    freeze, night, saturday, noon, first = found.blackouts
    assert isinstance(freeze, Period)
    assert (freeze.begin.isoformat(), freeze.end.isoformat()) == ("2026-12-19T23:00:00+00:00", "2027-01-06T23:00:00+00:00")
    assert isinstance(night, Period)
    assert (night.begin.isoformat(), night.end.isoformat()) == ("2026-05-01T16:00:00+00:00", "2026-05-02T06:00:00+00:00")
    assert saturday == WeeklyWindow(days=(5,), begin=0, end=360, timezone="Europe/Berlin")
    assert noon == WeeklyWindow(days=tuple(range(7)), begin=720, end=780, timezone="UTC")
    assert first == CronWindow(cron="0 0 1 * *", lasts_seconds=21600, timezone="Europe/Berlin")


@pytest.mark.parametrize(
    ("text", "window"),
    [
        ("Sat", ((5,), 0, 1440)),
        ("sat,SUNDAY", ((5, 6), 0, 1440)),
        ("Mon-Fri 08:00-18:00", ((0, 1, 2, 3, 4), 480, 1080)),
        ("Fri-Mon 00:00-24:00", ((0, 4, 5, 6), 0, 1440)),
        ("Fri 22:00-02:00", ((4,), 1320, 1560)),
        ("daily 23:30-00:30", (tuple(range(7)), 1410, 1470)),
    ],
)
def test_weekly_windows(text: str, window: tuple[tuple[int, ...], int, int]) -> None:
    assert weekly(text) == window


@pytest.mark.parametrize(
    ("schedule", "place", "said"),
    [
        ("5", "schedule", "in quotes"),
        ("[a]", "schedule", "belong under schedule: {cron: [...]}"),
        ("{}", "schedule", "needs a cron, after_backup: true, or both"),
        ("{cron: []}", "schedule", "needs a cron"),
        ("{cron: ['0 3 * * *', '99 3 * * *']}", "schedule.cron[1]", "is no cron expression"),
        ("{cron: ['@sometimes']}", "schedule.cron[0]", "is no schedule; known: @hourly"),
        ("{cron: '0 0 30 2 *'}", "schedule.cron[0]", "never comes"),
        ("{corn: '0 3 * * *'}", "schedule.corn", "did you mean cron?"),
        ("{cron: '0 3 * * *', timezone: Europe/Berln}", "schedule.timezone", "is no time zone that this machine knows"),
        ("{cron: '0 3 * * *', timezone: ../../etc/passwd}", "schedule.timezone", "is no time zone"),
        ("{cron: '0 3 * * *', timezone: 5}", "schedule.timezone", "is a name like"),
        ("{cron: '0 3 * * *', jitter: 15}", "schedule.jitter", "has no unit"),
        ("{cron: '0 3 * * *', jitter: 2d}", "schedule", "jitter is at most 1d"),
        ("{after_backup: true, jitter: 5m}", "schedule", "jitter spreads crons"),
        ("{after_backup: yes}", "schedule.after_backup", "write true"),
        ("{cron: '0 3 * * *', blackout: Sat}", "schedule.blackout", "is no list"),
        ("{cron: '0 3 * * *', blackout: [Sut]}", "schedule.blackout[0].weekly", "Sut is no day of the week"),
        ("{cron: '0 3 * * *', blackout: ['Sat 25:00-26:00']}", "schedule.blackout[0].weekly", "no such hours"),
        ("{cron: '0 3 * * *', blackout: ['Sat 3-6']}", "schedule.blackout[0].weekly", "is no weekly window"),
        ("{cron: '0 3 * * *', blackout: ['Sat 03:00-03:00']}", "schedule.blackout[0].weekly", "no such hours"),
        ("{cron: '0 3 * * *', blackout: [{from: '2026-12-20'}]}", "schedule.blackout[0]", "both from and to"),
        ("{cron: '0 3 * * *', blackout: [{from: '2026-12-20', to: '2026-12-19'}]}", "schedule.blackout[0]", "isn't after"),
        (
            "{cron: '0 3 * * *', blackout: [{from: '2026-13-01', to: '2027-01-01'}]}",
            "schedule.blackout[0]",
            "no day and no moment",
        ),
        ("{cron: '0 3 * * *', blackout: [{form: '2026-12-20'}]}", "schedule.blackout[0].form", "did you mean from?"),
        ("{cron: '0 3 * * *', blackout: [{cron: '@daily'}]}", "schedule.blackout[0]", "how long it lasts"),
        (
            "{cron: '0 3 * * *', blackout: [{weekly: Sat, cron: '@daily', lasts: 1h}]}",
            "schedule.blackout[0]",
            "weekly and cron",
        ),
        ("{cron: '0 3 * * *', blackout: [{timezone: UTC}]}", "schedule.blackout[0]", "there is none"),
        ("{cron: '0 3 * * *', blackout: [daily]}", "schedule", "leave no time"),
    ],
    ids=str,
)
def test_what_is_refused(schedule: str, place: str, said: str) -> None:
    (line,) = refused(schedule)
    assert line.startswith(f"orders.yaml:6: {place}: ")
    assert said in line


def test_every_mistake_is_named_with_its_line() -> None:
    lines = refused(
        "\n  cron:\n    - '0 3 * * *'\n    - nonsense\n  timezone: Nowhere\n  blackout:\n    - {weekly: Sut}\n    - {frm: a}"
    )
    assert [line.partition(": ")[0] for line in lines] == [
        "orders.yaml:9",
        "orders.yaml:10",
        "orders.yaml:12",
        "orders.yaml:13",
    ]


def test_it_is_kept_and_read_back() -> None:
    found = spec("{cron: '0 3 * * *', jitter: 15m, blackout: [{from: '2026-12-20', to: '2027-01-06'}, Sat]}")
    again = spec_from_snapshot(spec_snapshot(found))
    assert again == found
    assert spec_digest(again) == spec_digest(found)


def test_editors_know_it() -> None:
    from jsonschema import Draft202012Validator

    validator = Draft202012Validator(json_schema())
    for schedule, good in (
        ('"0 3 * * *"', True),
        ("{cron: ['0 3 * * *'], blackout: [{from: '2026-12-20', to: '2027-01-06'}, Sat], jitter: 15m}", True),
        ("{cron: '0 3 * * *'}", True),
        ("{corn: '0 3 * * *'}", False),
    ):
        document = yaml.safe_load(f"{HEAD}schedule: {schedule}\n")
        assert validator.is_valid(document) is good, schedule
