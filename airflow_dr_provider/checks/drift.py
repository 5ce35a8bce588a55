"""Compare a restored database with a reference: what differs, and whether production itself explains it.

A physical restore carries production's own transaction ids, so the catalogs tell when each object was last written. What
production wrote after the recovered point can't be in the restored copy and is no fault of the backup.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Literal

from airflow_dr_provider.domain.lsn import Lsn
from airflow_dr_provider.domain.reference import DatabaseReference, ObjectKind, SchemaObject
from airflow_dr_provider.domain.value import Value

Change = Literal["missing", "extra", "changed", "invalid"]
_Key = tuple[ObjectKind, str]

_LATER = "production changed it after the recovered point"
_RENAMED = "production renamed it after the recovered point"
_DROPPED = "the reference is newer than the recovered point: production may have dropped it since"
_MADE = "it was made after the reference was taken"
_UNFINISHED = "production's transaction that wrote it had not committed at the recovered point"


class Difference(Value):
    """One object that is not as the reference says.

    :param change: ``missing``: only in the reference; ``extra``: only in the restored copy; ``changed``: defined otherwise;
        ``invalid``: valid in the reference and not in the copy.
    :param excused: True when production's own later (or earlier) work explains it: reported, not failed.
    :param why: the explanation, "" when there is none.
    :param written_by: the 64-bit id of the transaction that wrote the reference's side, None when unknown.
    """

    kind: ObjectKind
    name: str
    change: Change
    excused: bool
    why: str = ""
    database: str = ""
    written_by: int | None = None

    def __str__(self) -> str:
        return f"{self.kind} {self.name} {self.change}"


class _Comparison:
    """The rule of excuses, for one pair of moments."""

    def __init__(
        self,
        *,
        reference_next: int | None,
        restored_next: int | None,
        reference_lsn: Lsn | None,
        restored_lsn: Lsn | None,
        uncommitted: Collection[int],
    ) -> None:
        self._reference_next = reference_next
        self._restored_next = restored_next
        self._uncommitted = frozenset(uncommitted)
        if reference_lsn is not None and restored_lsn is not None:
            self.reference_is_later: bool | None = reference_lsn > restored_lsn
        elif reference_next is not None and restored_next is not None:
            self.reference_is_later = reference_next > restored_next
        else:
            self.reference_is_later = None

    def _since_recovery(self, xid: int | None) -> str:
        """Why a row of the reference can't be in the restored copy; "" when it should be."""
        if xid is None or self.reference_is_later is not True:
            return ""
        if self._restored_next is not None and xid >= self._restored_next:
            return _LATER
        return _UNFINISHED if xid in self._uncommitted else ""

    def missing(self, reference: SchemaObject, renamed: bool) -> str:
        why = self._since_recovery(reference.changed_by)
        if not why and renamed and self._since_recovery(reference.definition_changed_by):
            return _RENAMED
        return why

    def changed(self, reference: SchemaObject, restored: SchemaObject) -> str:
        for xid in (reference.changed_by, reference.definition_changed_by):
            why = self._since_recovery(xid)
            if why:
                return why
        # An older reference: the change lies between it and the recovered point, by production's own hand. What was written
        # later than that was written in the sandbox.
        newest = _newest(restored)
        if (
            self.reference_is_later is False
            and newest is not None
            and self._reference_next is not None
            and newest >= self._reference_next
            and (self._restored_next is None or newest < self._restored_next)
        ):
            return _MADE
        return ""

    def extra(self, restored_changed_by: int | None) -> str:
        if self.reference_is_later is True:
            return _DROPPED
        if (
            self.reference_is_later is False
            and restored_changed_by is not None
            and self._reference_next is not None
            and restored_changed_by >= self._reference_next
        ):
            return _MADE
        return ""


def _newest(item: SchemaObject) -> int | None:
    return max((xid for xid in (item.changed_by, item.definition_changed_by) if xid is not None), default=None)


def compare(
    reference: DatabaseReference,
    restored: DatabaseReference,
    *,
    kinds: Collection[ObjectKind],
    reference_next: int | None,
    restored_next: int | None,
    reference_lsn: Lsn | None,
    restored_lsn: Lsn | None,
    uncommitted: Collection[int] = (),
) -> tuple[Difference, ...]:
    """Every difference of the given kinds, by kind and name.

    An object whose schema or table is reported as missing (or extra) itself goes with it and is not reported again.

    :param kinds: the kinds to report; both sides must have been captured with them.
    :param reference_next: the first transaction id not yet given out when the reference was captured.
    :param restored_next: the same at the recovered point.
    :param reference_lsn: where production's WAL stood then; None too when the reference is of another system.
    :param uncommitted: transactions of the reference that the restored server knows as not committed: they had begun before
        the recovered point and ended after it (a long index build, say).
    """
    rule = _Comparison(
        reference_next=reference_next,
        restored_next=restored_next,
        reference_lsn=reference_lsn,
        restored_lsn=restored_lsn,
        uncommitted=uncommitted,
    )
    before = _by_key(reference, kinds)
    after = _by_key(restored, kinds)
    gone = {key: item for key, item in before.items() if key not in after}
    extra = {key: item for key, item in after.items() if key not in before}
    found = [
        *_gone(gone, before, {(item.kind, item.parent, item.definition) for item in extra.values()}, rule),
        *_extra(extra, after, rule),
        *_changed(before, after, rule),
    ]
    return tuple(
        difference.model_copy(update={"database": restored.name})
        for difference in sorted(found, key=lambda item: (item.kind, item.name))
    )


def _by_key(database: DatabaseReference, kinds: Collection[ObjectKind]) -> dict[_Key, SchemaObject]:
    return {(item.kind, item.name): item for item in database.objects if item.kind in kinds}


def _gone(
    gone: dict[_Key, SchemaObject],
    before: dict[_Key, SchemaObject],
    others: set[tuple[ObjectKind, str, str]],
    rule: _Comparison,
) -> Iterator[Difference]:
    for key, item in _outermost(gone, before):
        why = rule.missing(item, (item.kind, item.parent, item.definition) in others)
        yield Difference(kind=key[0], name=key[1], change="missing", excused=bool(why), why=why, written_by=item.changed_by)


def _extra(extra: dict[_Key, SchemaObject], after: dict[_Key, SchemaObject], rule: _Comparison) -> Iterator[Difference]:
    for key, item in _outermost(extra, after):
        why = rule.extra(item.changed_by)
        yield Difference(kind=key[0], name=key[1], change="extra", excused=bool(why), why=why)


def _changed(before: dict[_Key, SchemaObject], after: dict[_Key, SchemaObject], rule: _Comparison) -> Iterator[Difference]:
    for key, item in before.items():
        other = after.get(key)
        if other is None:
            continue
        lost = item.valid and not other.valid
        if not lost and item.definition == other.definition:
            continue
        why = rule.changed(item, other)
        yield Difference(
            kind=key[0],
            name=key[1],
            change="invalid" if lost else "changed",
            excused=bool(why),
            why=why,
            written_by=_newest(item),
        )


# What others can lie in. A table and a type of one name can't both be, so a parent's name is enough to find it.
_PARENTS = (
    ObjectKind.SCHEMA,
    ObjectKind.TABLE,
    ObjectKind.VIEW,
    ObjectKind.MATERIALIZED_VIEW,
    ObjectKind.SEQUENCE,
    ObjectKind.TYPE,
)


def _outermost(group: dict[_Key, SchemaObject], side: dict[_Key, SchemaObject]) -> Iterator[tuple[_Key, SchemaObject]]:
    """Those of a group that don't lie in another of it."""
    for key, item in group.items():
        if not any(parent in group for parent in _ancestors(key, item, side)):
            yield key, item


def _ancestors(key: _Key, item: SchemaObject, side: dict[_Key, SchemaObject]) -> Iterator[_Key]:
    seen = {key}
    names = [item.parent] if item.parent else []
    while names:
        name = names.pop()
        for kind in _PARENTS:
            parent = side.get((kind, name))
            if parent is not None and (kind, name) not in seen:
                seen.add((kind, name))
                yield kind, name
                if parent.parent:
                    names.append(parent.parent)


def database_difference(
    name: str,
    *,
    change: Literal["missing", "extra"],
    changed_by: int | None,
    reference_next: int | None,
    restored_next: int | None,
    reference_lsn: Lsn | None,
    restored_lsn: Lsn | None,
) -> Difference:
    """A whole database that only one side has, by the same rule of excuses."""
    rule = _Comparison(
        reference_next=reference_next,
        restored_next=restored_next,
        reference_lsn=reference_lsn,
        restored_lsn=restored_lsn,
        uncommitted=(),
    )
    item = SchemaObject(kind=ObjectKind.DATABASE, name=name, definition="database", changed_by=changed_by)
    why = rule.missing(item, renamed=False) if change == "missing" else rule.extra(changed_by)
    return Difference(
        kind=ObjectKind.DATABASE, name=name, change=change, excused=bool(why), why=why, database=name, written_by=changed_by
    )
