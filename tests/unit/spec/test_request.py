"""What may be asked of one run, and what may not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from airflow_dr_provider.domain.request import PLAIN
from airflow_dr_provider.errors import SpecError
from airflow_dr_provider.spec.loader import load_text
from airflow_dr_provider.spec.models import DrillSpec
from airflow_dr_provider.spec.request import requested_target, run_request

TEXT = """\
version: 1
drill: orders
objectives: {rto: 30m, rpo: 1h, mtd: 4h}
source: {repository: {kind: basebackup, backups: ./b, archive: ./a}}
target: {recover_to: latest, timeline: 3}
tiers:
  - {name: primary, role: staging, sandbox: {kind: process}, timeout: 10m}
  - {name: cold, role: cold_storage, sandbox: {kind: process}, timeout: 10m}
"""


@pytest.fixture
def spec() -> DrillSpec:
    return load_text(TEXT, source="spec", base=Path("/drills"))


@pytest.mark.parametrize("empty", [None, "", "  "])
def test_nothing_is_asked_for(spec: DrillSpec, empty: Any) -> None:
    names = ("recover_to", "value", "first_tier", "keep_for", "reason")
    assert run_request(spec, **dict.fromkeys(names, empty)) == PLAIN
    assert run_request(spec, recover_to="as in the spec", first_tier="primary", keep_for="no") == PLAIN


def test_everything_at_once(spec: DrillSpec) -> None:
    asked = run_request(spec, recover_to="lsn", value="0/3000148", first_tier="cold", keep_for="90m", reason=" audit ")
    assert asked.target is not None
    assert (asked.target.kind, asked.target.value, asked.target.timeline) == ("lsn", "0/3000148", 3)
    assert (asked.first_tier, asked.keep_seconds, asked.reason) == ("cold", 5400, "audit")
    assert type(asked).model_validate_json(asked.model_dump_json()) == asked


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"recover_to": "yesterday"}, "no kind of target"),
        ({"recover_to": "latest", "value": "0/1"}, "latest has none"),
        ({"recover_to": "time", "value": "2026-03-01T04:00:00"}, "no offset"),
        ({"recover_to": "lsn", "value": "3000148"}, "target_value"),
        ({"recover_to": "xid", "value": "2"}, "no transaction id"),
        ({"recover_to": "restore_point", "value": "x" * 64}, "restore point"),
        ({"recover_to": "restore_point", "value": "a\x00b"}, "can't be kept"),
        ({"value": "0/1"}, "has no kind"),
        ({"first_tier": "tape"}, "no tier 'tape'"),
        ({"keep_for": "25h", "reason": "x"}, "24h at most"),
        ({"keep_for": "soon", "reason": "x"}, "no duration"),
        ({"keep_for": "1h"}, "Give a reason"),
        ({"reason": "x" * 501}, "500 at most"),
    ],
)
def test_what_is_refused(spec: DrillSpec, asked: dict[str, str], told: str) -> None:
    with pytest.raises(SpecError, match=told) as caught:
        run_request(spec, **asked)
    assert caught.value.code == "REQUEST_REFUSED"


@pytest.mark.parametrize(
    ("text", "parts"),
    [("latest", ("latest", "")), ("lsn=0/1", ("lsn", "0/1")), ("time = a=b", ("time", "a=b")), ("", ("", ""))],
)
def test_a_target_on_a_command_line(text: str, parts: tuple[str, str]) -> None:
    assert requested_target(text) == parts
