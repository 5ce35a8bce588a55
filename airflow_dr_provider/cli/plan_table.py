"""A plan as lines for a person, a hundred columns wide where the terminal doesn't say otherwise."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime

from rich.console import Console
from rich.table import Table
from rich.text import Text

from airflow_dr_provider.domain.plan import Plan, PlannedCandidate, PlannedHole, PlannedTarget

WIDTH = 100
SHOWN = 20
"""How many backups are shown unless all are asked for."""


def show(plan: Plan, *, everything: bool = False, console: Console | None = None) -> None:
    """Print a plan."""
    console = console or Console(width=None if sys.stdout.isatty() else WIDTH, highlight=False)
    console.print(_facts([("drill", plan.drill), ("as of", f"{_time(plan.as_of)} UTC"), ("target", _target(plan.target))]))
    console.print()
    console.print(_tiers(plan))
    console.print()
    shown = plan.candidates if everything else plan.candidates[:SHOWN]
    console.print(_candidates(shown))
    if len(shown) < len(plan.candidates):
        console.print(_rest(plan.candidates[len(shown) :]))
    if plan.holes:
        console.print()
        console.print(_holes(plan))
    if plan.notes:
        console.print()
        console.print(_facts([("note", note) for note in plan.notes]))


def _grid(*headings: str, wide: str) -> Table:
    """A table without lines, of which one column takes what room is left."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold", show_header=any(headings))
    for heading in headings:
        table.add_column(heading, ratio=1 if heading == wide else None, no_wrap=False, overflow="fold")
    return table


def _facts(lines: Sequence[tuple[str, str]]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, text in lines:
        table.add_row(name, Text(text))
    return table


def _tiers(plan: Plan) -> Table:
    table = _grid("tier", "takes", "then", "because", wide="because")
    for tier in plan.tiers:
        taken = Text(tier.candidate, style="green") if tier.candidate else Text("nothing", style="red")
        because = tier.detail if tier.detail != plan.target.note else "see the target"
        if tier.candidate is None:
            because = f"{tier.reason}: {because}"
        table.add_row(Text(tier.name), taken, Text(tier.falls_back_to or "-"), Text(because))
    return table


def _candidates(candidates: Sequence[PlannedCandidate]) -> Table:
    timed = any(found.reachable.time is not None for found in candidates)
    table = _grid(
        "", "backup", "type", "ended", "tl", "WAL up to", *(("last commit",) if timed else ()), "verdict", wide="verdict"
    )
    for found in candidates:
        mark = Text("✓", style="green") if found.eligible else Text("✗", style="red")
        table.add_row(
            mark,
            Text(found.id),
            "diff" if found.type == "differential" else found.type[:4],
            _time(found.stop_time),
            str(found.timeline or "?"),
            str(found.reachable.lsn or "-"),
            *((_time(found.reachable.time),) if timed else ()),
            Text(_verdict(found)),
        )
    return table


def _verdict(found: PlannedCandidate) -> str:
    if not found.eligible:
        return "; ".join(found.details[code] for code in found.reasons)
    parts = [f"score {found.score}"]
    if found.short:
        parts.insert(0, found.details["short_of_target"])
    for tier, codes in found.tiers.items():
        parts += [f"not for {tier}: {found.details[code]}" for code in codes]
    return "; ".join(parts)


def _rest(candidates: Sequence[PlannedCandidate]) -> Text:
    """What is not shown, counted by what speaks against it."""
    counted = Counter(found.reasons[0].replace("_", " ") if found.reasons else "eligible" for found in candidates)
    causes = ", ".join(f"{count} {cause}" for cause, count in counted.most_common())
    return Text(f"… and {len(candidates)} more ({causes}); --all shows them")


def _holes(plan: Plan) -> Table:
    table = _grid("missing WAL", "to", "", wide="")
    for hole in plan.holes:
        said = [_in_whose_way(hole, plan.candidates)]
        if hole.acknowledged is not None:
            said.append(f"acknowledged: {hole.acknowledged}")
        table.add_row(hole.first, hole.last if hole.last != hole.first else "", Text("; ".join(said)))
    return table


def _in_whose_way(hole: PlannedHole, candidates: Sequence[PlannedCandidate]) -> str:
    stopped = [
        found.id
        for found in candidates
        if found.reachable.hole is not None and hole.first <= found.reachable.hole.first <= hole.last
    ]
    names = ", ".join(stopped[:3]) + (f" and {len(stopped) - 3} more" if len(stopped) > 3 else "")
    place = "on the way to the target" if hole.on_path else "off the way to the target"
    return f"{place}; stops {names}" if stopped else place


def _target(target: PlannedTarget) -> str:
    asked = f"{target.kind.value.replace('_', ' ')} {target.value}".strip()
    if target.lsn is None:
        return f"{asked}: {target.note}"
    about = "" if target.exact else "about "
    time = f", last commit {_time(target.time)} UTC" if target.time is not None else ""
    note = f" ({target.note})" if target.note else ""
    return f"{asked}: {about}{target.lsn} on timeline {target.timeline}{time}{note}"


def _time(moment: datetime | None) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S}" if moment is not None else "?"
