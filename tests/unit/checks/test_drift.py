from __future__ import annotations

import random
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from airflow_dr_provider.checks.drift import Difference, compare
from airflow_dr_provider.domain.lsn import Lsn
from airflow_dr_provider.domain.reference import DatabaseReference, ObjectKind, SchemaObject

KINDS = tuple(ObjectKind)
EARLY, LATE = Lsn(1000), Lsn(2000)
LIVE: dict[str, Any] = {
    "kinds": KINDS,
    "reference_next": 900,
    "restored_next": 500,
    "reference_lsn": LATE,
    "restored_lsn": EARLY,
}
OLDER: dict[str, Any] = {
    "kinds": KINDS,
    "reference_next": 500,
    "restored_next": 900,
    "reference_lsn": EARLY,
    "restored_lsn": LATE,
}


def built(seed: int) -> DatabaseReference:
    """A database of schemas, tables in them, and what lies in tables. From a seed: drawing each part takes ten times as long."""
    chance = random.Random(seed)
    objects: list[SchemaObject] = []

    def xid() -> int | None:
        return chance.choice((None, chance.randint(3, 1200)))

    def add(kind: ObjectKind, name: str, parent: str = "") -> None:
        objects.append(
            SchemaObject(
                kind=kind,
                name=name,
                parent=parent,
                definition=chance.choice(("one", "two")),
                changed_by=xid(),
                definition_changed_by=xid(),
                valid=chance.random() < 0.8,
            )
        )

    def some(names: str) -> list[str]:
        return [name for name in names if chance.random() < 0.5]

    for schema in some("pqr"):
        add(ObjectKind.SCHEMA, schema)
        for table in some("abc"):
            add(ObjectKind.TABLE, f"{schema}.{table}", schema)
            for name in some("xyz"):
                kind = chance.choice((ObjectKind.COLUMN, ObjectKind.CONSTRAINT, ObjectKind.TRIGGER, ObjectKind.POLICY))
                add(kind, f"{schema}.{table}.{name}", f"{schema}.{table}")
            for name in some("ij"):
                add(ObjectKind.INDEX, f"{schema}.{table}_{name}", f"{schema}.{table}")
    return DatabaseReference(name="shop", objects=tuple(objects))


def databases() -> st.SearchStrategy[DatabaseReference]:
    return st.integers(0, 1 << 32).map(built)


def without(database: DatabaseReference, *gone: SchemaObject) -> DatabaseReference:
    return database.model_copy(update={"objects": tuple(item for item in database.objects if item not in gone)})


def below(database: DatabaseReference, parent: SchemaObject) -> tuple[SchemaObject, ...]:
    """An object and all that lies in it."""
    names = {parent.name}
    found = [parent]
    for _ in range(3):
        for item in database.objects:
            if item.parent in names and item not in found:
                found.append(item)
                names.add(item.name)
    return tuple(found)


@given(databases(), st.sampled_from((LIVE, OLDER)))
def test_nothing_differs_from_itself(database: DatabaseReference, moments: dict[str, Any]) -> None:
    assert compare(database, database, **moments) == ()


@given(databases(), st.data(), st.sampled_from((LIVE, OLDER)))
def test_one_lost_object_is_one_difference(database: DatabaseReference, data: st.DataObject, moments: dict[str, Any]) -> None:
    if not database.objects:
        return
    lost = data.draw(st.sampled_from(database.objects))
    (found,) = compare(database, without(database, *below(database, lost)), **moments)
    assert (found.kind, found.name, found.change) == (lost.kind, lost.name, "missing")
    since = lost.changed_by is not None and lost.changed_by >= moments["restored_next"]
    assert found.excused == (moments is LIVE and since)
    assert bool(found.why) == found.excused


@given(databases(), st.data(), st.sampled_from((LIVE, OLDER)))
def test_one_added_object_is_one_difference(database: DatabaseReference, data: st.DataObject, moments: dict[str, Any]) -> None:
    if not database.objects:
        return
    added = data.draw(st.sampled_from(database.objects))
    (found,) = compare(without(database, *below(database, added)), database, **moments)
    assert (found.kind, found.name, found.change) == (added.kind, added.name, "extra")
    since = added.changed_by is not None and added.changed_by >= moments["reference_next"]
    assert found.excused == (moments is LIVE or since)


@given(databases(), st.data(), st.sampled_from((LIVE, OLDER)))
def test_one_changed_object_is_one_difference(
    database: DatabaseReference, data: st.DataObject, moments: dict[str, Any]
) -> None:
    if not database.objects:
        return
    before = data.draw(st.sampled_from(database.objects))
    after = before.model_copy(update={"definition": "three"})
    (found,) = compare(
        database, database.model_copy(update={"objects": (*without(database, before).objects, after)}), **moments
    )
    assert (found.kind, found.name, found.change) == (before.kind, before.name, "changed")
    newest = max((xid for xid in (before.changed_by, before.definition_changed_by) if xid is not None), default=0)
    assert found.excused == (newest >= 500 if moments is LIVE else 500 <= newest < 900)


@given(databases(), databases())
def test_nothing_is_excused_where_the_moments_are_unknown(left: DatabaseReference, right: DatabaseReference) -> None:
    unknown: dict[str, Any] = dict.fromkeys(("reference_next", "restored_next", "reference_lsn", "restored_lsn"))
    assert not any(item.excused for item in compare(left, right, kinds=KINDS, **unknown))


@given(databases(), databases(), st.sampled_from((LIVE, OLDER)))
def test_order_and_other_kinds_change_nothing(
    left: DatabaseReference, right: DatabaseReference, moments: dict[str, Any]
) -> None:
    def turned(database: DatabaseReference) -> DatabaseReference:
        return database.model_copy(update={"objects": database.objects[::-1]})

    found = compare(left, right, **moments)
    assert compare(turned(left), turned(right), **moments) == found
    indexes = compare(left, right, **{**moments, "kinds": (ObjectKind.INDEX,)})
    assert {item for item in found if item.kind is ObjectKind.INDEX} <= set(indexes)


def item(**changes: Any) -> SchemaObject:
    return SchemaObject(
        **{"kind": ObjectKind.INDEX, "name": "public.i", "definition": "on t (a)", "changed_by": 100, **changes}
    )


def only(reference: SchemaObject | None, restored: SchemaObject | None, **moments: Any) -> Difference:
    sides = [DatabaseReference(name="shop", objects=(side,) if side else ()) for side in (reference, restored)]
    (found,) = compare(sides[0], sides[1], **{**LIVE, **moments})
    return found


def test_lost_validity_is_its_own_change() -> None:
    assert only(item(), item(valid=False)).change == "invalid"
    assert not only(item(), item(valid=False)).excused
    assert only(item(changed_by=600), item(valid=False)).excused


def test_a_rename_is_excused_by_its_other_half_only() -> None:
    renamed = item(name="public.j", definition_changed_by=600)
    both = DatabaseReference(name="shop", objects=(renamed,)), DatabaseReference(name="shop", objects=(item(),))
    assert all(found.excused for found in compare(*both, **LIVE))
    assert not only(renamed, None).excused


def test_a_reindexed_index_is_still_missed() -> None:
    # REINDEX and TRUNCATE write pg_class anew, and leave pg_index alone.
    assert not only(item(definition_changed_by=600), None).excused


def test_a_transaction_that_spanned_the_recovered_point_is_an_excuse() -> None:
    assert not only(item(changed_by=450), None).excused
    assert only(item(changed_by=450), None, uncommitted={450}).excused


def test_what_was_changed_in_the_sandbox_is_no_work_of_production() -> None:
    assert only(item(), item(definition="other", changed_by=700), **OLDER).excused
    assert not only(item(), item(definition="other", changed_by=950), **OLDER).excused
