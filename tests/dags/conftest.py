"""Specs and the DAGs that are made of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from airflow.sdk import DAG

from airflow_dr_provider.factory import build_drill_dag
from airflow_dr_provider.spec.loader import load_text
from airflow_dr_provider.spec.models import DrillSpec

HEAD = """\
version: 1
drill: {drill}
description: Proves it.
schedule: "0 3 * * *"
objectives: {{rto: 30m, rpo: 1h, mtd: 4h}}
source: {{repository: {{kind: basebackup, backups: ./backups, archive: ./archive}}}}
selection: {{candidates: {candidates}}}
tags: [nightly, billing]
triage: {{response_timeout: 2h}}
tiers:
"""
TIER = "  - {{name: {name}, role: staging, sandbox: {{kind: process}}, timeout: 10m, cache_warming: {warm}}}\n"


def text(*tiers: tuple[str, str], drill: str = "orders", candidates: int = 4) -> str:
    """A spec's text.

    :param tiers: name and cache_warming of each.
    """
    chosen = tiers or (("primary", "full"), ("secondary", "light"), ("cold", "none"))
    return HEAD.format(drill=drill, candidates=candidates) + "".join(TIER.format(name=name, warm=warm) for name, warm in chosen)


@pytest.fixture(scope="session")
def spec() -> Callable[..., DrillSpec]:
    """Makes specs."""
    return lambda *tiers, **options: load_text(text(*tiers, **options), source="spec", base=Path("/drills"))


@pytest.fixture(scope="session")
def dag(spec: Callable[..., DrillSpec]) -> DAG:
    """The DAG of three tiers and four attempts."""
    return build_drill_dag(spec())
