"""Which backups of a catalog a recovery could begin with, as far as the catalog alone tells."""

from __future__ import annotations

from collections import Counter

from airflow_dr_provider.domain.catalog import Backup, Catalog


def cluster_of(catalog: Catalog) -> int | None:
    """The system identifier that candidates must have.

    Where the repository itself doesn't know: that of most sound backups, the newest deciding between equals; None when no
    backup tells.
    """
    if catalog.system_identifier is not None:
        return catalog.system_identifier
    backups = [backup for backup in catalog.backups if backup.system_identifier is not None]
    backups = [backup for backup in backups if not backup.flaws] or backups
    votes = Counter(backup.system_identifier for backup in backups)
    newest = max(backups, key=lambda backup: (votes[backup.system_identifier], backup.stop_lsn or 0, backup.id), default=None)
    return newest.system_identifier if newest is not None else None


def sound_backups(catalog: Catalog) -> tuple[Backup, ...]:
    """The backups by which targets, timelines and holes are judged, in the catalog's order.

    Neither they nor what they build on have a flaw, they are of the repository's cluster, and their place in the WAL is known.
    A stranger's backup, or one whose base is damaged, needs no WAL: what is missing on its way is no hole.
    """
    cluster = cluster_of(catalog)
    unflawed = {backup.id for backup in catalog.backups if not backup.flaws}
    return tuple(
        backup
        for backup in catalog.backups
        if not backup.flaws
        and unflawed.issuperset(backup.chain)
        and (cluster is None or backup.system_identifier in (None, cluster))
        and None not in (backup.timeline, backup.start_lsn, backup.stop_lsn)
    )
