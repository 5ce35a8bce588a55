"""WAL that verification found damaged: in every later choice it counts as missing."""

from __future__ import annotations

from airflow_dr_provider.domain.catalog import Catalog, SegmentRange
from airflow_dr_provider.domain.wal import subtract_ranges, union_ranges
from airflow_dr_provider.state.store import Store


def known_damage(store: Store, repository: str) -> tuple[SegmentRange, ...]:
    """Segments of an archive that were damaged when they were read last.

    :param repository: the catalog's identity.
    """
    faulty = store.ledger.faulty(repository)
    return union_ranges(entry.item.segment for entry in faulty if entry.item.segment is not None and not entry.item.backup_id)


def with_known_damage(catalog: Catalog, store: Store) -> Catalog:
    """The catalog, its archive without the segments that are known to be damaged: they are flawed, as those are that its headers
    show.
    """
    damaged = known_damage(store, catalog.identity)
    if not damaged:
        return catalog
    archive = catalog.archive
    sound = subtract_ranges(archive.ranges, damaged)
    there = subtract_ranges(archive.ranges, sound)
    marked = archive.model_copy(update={"ranges": sound, "flawed": union_ranges(archive.flawed, there)})
    return catalog.model_copy(update={"archive": marked})
