"""Compare two lists of roles, and say what production's own later or earlier work explains."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from airflow_dr_provider.checks.cluster_drift import Moments
from airflow_dr_provider.domain.reference import RoleFacts

Judgement = Literal["failed", "excused", "undecided"]


@dataclass(frozen=True, kw_only=True)
class RoleDifference:
    """One way in which a role is not as the reference says.

    :param judgement: ``undecided`` where nothing tells when production changed it: its account may not see that.
    :param written_by: the transaction that makes it a failure, None where something else does.
    """

    role: str
    what: str
    judgement: Judgement
    written_by: int | None = None

    def __str__(self) -> str:
        return f"role {self.role} {self.what}"


def compare_roles(
    reference: Sequence[RoleFacts], restored: Sequence[RoleFacts], moment: Moments, uncommitted: Collection[int] = ()
) -> tuple[RoleDifference, ...]:
    """Every difference, by role. On the same system a role is known by its number, which outlasts a new name.

    :param uncommitted: transactions of the reference that had not committed at the recovered point.
    """
    rule = _Rule(moment, frozenset(uncommitted))
    key: Callable[[RoleFacts], object] = (lambda role: role.oid) if moment.same_system else (lambda role: role.name)
    before = {key(role): role for role in reference}
    after = {key(role): role for role in restored}
    renamed = {role.name: after[known].name for known, role in before.items() if known in after}
    found: list[RoleDifference] = []
    for known, role in before.items():
        if known in after:
            found += _changed(role, after[known], renamed, rule)
        else:
            judgement, witness = rule.missing(role)
            found.append(RoleDifference(role=role.name, what="is missing", judgement=judgement, written_by=witness))
    for known, role in after.items():
        if known not in before:
            found.append(RoleDifference(role=role.name, what="is not in the reference", judgement=rule.extra(role.changed_by)))
    return tuple(sorted(found, key=lambda item: (item.role, item.what)))


def _changed(before: RoleFacts, after: RoleFacts, renamed: dict[str, str], rule: _Rule) -> Iterator[RoleDifference]:
    name = after.name
    if (before.name, before.attributes) != (after.name, after.attributes):
        what = f"has another name than {before.name}" if before.name != name else "has other rights"
        judgement, by = rule.rewritten(before.changed_by, after.changed_by)
        yield RoleDifference(role=name, what=what, judgement=judgement, written_by=by)
    granted = {(renamed.get(item.role, item.role), item.options) for item in before.memberships}
    held = {(item.role, item.options) for item in after.memberships}
    yield from _sets(name, "membership in", granted, held, before.memberships_by, after.memberships_by, rule)
    yield from _sets(
        name,
        "setting",
        {(item.split(" ")[0], item) for item in before.settings},
        {(item.split(" ")[0], item) for item in after.settings},
        before.settings_by,
        after.settings_by,
        rule,
    )


def _sets(
    name: str,
    noun: str,
    before: set[tuple[str, str]],
    after: set[tuple[str, str]],
    before_by: int | None,
    after_by: int | None,
    rule: _Rule,
) -> Iterator[RoleDifference]:
    for lost in sorted({item[0] for item in before - after}):
        judgement, by = rule.lost(before_by, after_by)
        yield RoleDifference(role=name, what=f"lacks its {noun} {lost}", judgement=judgement, written_by=by)
    for more in sorted({item[0] for item in after - before} - {item[0] for item in before - after}):
        yield RoleDifference(role=name, what=f"has another {noun} {more}", judgement=rule.extra(after_by))


@dataclass(frozen=True)
class _Rule:
    moment: Moments
    uncommitted: frozenset[int]

    @property
    def _later(self) -> bool:
        return self.moment.reference_is_later is True

    def _since(self, xid: int) -> bool:
        """Whether production wrote it after the recovered point."""
        restored = self.moment.restored_next
        return (restored is not None and xid >= restored) or xid in self.uncommitted

    def _between(self, xid: int | None) -> bool:
        """Whether production wrote it after an older reference, and before the recovered point."""
        first, end = self.moment.reference_next, self.moment.restored_next
        known = xid is not None and first is not None and self.moment.reference_is_later is False
        return known and xid is not None and first is not None and xid >= first and (end is None or xid < end)

    def missing(self, role: RoleFacts) -> tuple[Judgement, int | None]:
        if not self._later:
            return "failed", None
        known = [xid for xid in (role.changed_by, role.exists_since) if xid is not None]
        if not known:
            return "undecided", None
        oldest = min(known)
        if not self._since(oldest):
            return "failed", oldest
        # Its row tells when it was last written; without it, only that nothing older names it.
        return ("excused" if role.changed_by is not None else "undecided"), None

    def rewritten(self, before_by: int | None, after_by: int | None) -> tuple[Judgement, int | None]:
        if not self._later:
            return ("excused" if self._between(after_by) else "failed"), None
        if before_by is None:
            return "undecided", None
        return ("excused", None) if self._since(before_by) else ("failed", before_by)

    def lost(self, before_by: int | None, after_by: int | None) -> tuple[Judgement, int | None]:
        if not self._later:
            return ("excused" if self._between(after_by) else "failed"), None
        if before_by is None:
            return "failed", None
        return ("excused", None) if self._since(before_by) else ("failed", before_by)

    def extra(self, after_by: int | None) -> Judgement:
        # A later reference: production may have taken it away since.
        return "excused" if self._later or self._between(after_by) else "failed"
