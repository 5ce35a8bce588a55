"""The signed context: what was signed is read back, and nothing else is."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_dr_provider.domain.routing_manifest import DrillContext
from airflow_dr_provider.evidence.drill_context import signed_context, verified_context

NOW = datetime(2026, 3, 1, 4, 0, tzinfo=UTC)
CONTEXT = DrillContext(
    drill="orders", run_id="orders:manual__2026-03-01T04:00:00+00:00", tier="primary", role="staging", epoch=0,
    expires_at=NOW + timedelta(hours=1),
)  # fmt: skip
HEADER, KEY = signed_context(CONTEXT)


def test_what_was_signed_is_read_back_until_the_lease_ends() -> None:
    assert verified_context(HEADER, KEY, now=NOW) == CONTEXT
    assert verified_context(f" {HEADER}\r\n", KEY, now=NOW) == CONTEXT
    assert verified_context(HEADER, KEY, now=CONTEXT.expires_at) is None


def test_it_is_one_word_that_a_header_can_hold() -> None:
    assert HEADER.isascii()
    assert HEADER.isprintable()
    assert " " not in HEADER
    assert "," not in HEADER


def test_another_manifests_key_verifies_nothing() -> None:
    other, key = signed_context(CONTEXT)
    assert key != KEY
    assert verified_context(HEADER, key, now=NOW) is None
    assert verified_context(other, KEY, now=NOW) is None


@pytest.mark.parametrize("change", [{"epoch": 1}, {"tier": "cold"}, {"expires_at": "2099-01-01T00:00:00Z"}])
def test_a_changed_context_under_the_old_signature(change: dict[str, object]) -> None:
    content = json.dumps({**CONTEXT.model_dump(mode="json"), **change}, sort_keys=True, separators=(",", ":")).encode()
    forged = base64.urlsafe_b64encode(content).decode().rstrip("=") + "." + HEADER.partition(".")[2]
    assert verified_context(forged, KEY, now=NOW) is None


@settings(max_examples=200)
@given(st.integers(0, len(HEADER) - 1), st.sampled_from("ABab01-_.= ,"))
def test_no_changed_character_passes_for_another_context(place: int, character: str) -> None:
    changed = HEADER[:place] + character + HEADER[place + 1 :]
    # The last character of either part carries bits that mean nothing; the content is what counts.
    assert verified_context(changed, KEY, now=NOW) in (None, CONTEXT)


@given(st.text(max_size=200), st.text(max_size=60))
def test_junk_is_refused_in_silence(header: str, key: str) -> None:
    assert verified_context(header, KEY, now=NOW) is None
    assert verified_context(HEADER, key, now=NOW) is None
