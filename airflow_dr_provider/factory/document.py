"""A drill, described for Airflow's page."""

from __future__ import annotations

from airflow_dr_provider.spec.durations import format_duration
from airflow_dr_provider.spec.models import DrillSpec
from airflow_dr_provider.spec.sandbox import ProcessSandboxSpec, SandboxSpec


def dag_document(spec: DrillSpec) -> str:
    """Markdown for ``doc_md``; the same text for the same spec."""
    objectives = spec.objectives
    lines = [
        f"### {spec.drill}",
        "",
        *([spec.description, ""] if spec.description else []),
        f"RTO {format_duration(objectives.rto)}, RPO {format_duration(objectives.rpo)}, MTD {format_duration(objectives.mtd)}.",
        "",
        "| tier | role | sandbox | timeout | checks | warming |",
        "|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {tier.name} | {tier.role} | {_sandbox(tier.sandbox)} | "
        f"{format_duration(tier.timeout)} | {tier.profile} | {tier.cache_warming} |"
        for tier in spec.tiers
    ]
    lines += [
        "",
        "A red tier inside a green run is a fallback: it failed, and a later tier recovered. The tab Drill says why.",
    ]
    return "\n".join(lines)


def _sandbox(sandbox: SandboxSpec) -> str:
    isolation = f", isolation {sandbox.isolation}" if isinstance(sandbox, ProcessSandboxSpec) else ""
    return f"{sandbox.kind}{isolation}"
