"""The WAL that a backup carries along: whether it can be replayed from where the backup starts to where it is consistent."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from airflow_dr_provider.domain.lsn import Lsn
from airflow_dr_provider.domain.reports import BackupFault
from airflow_dr_provider.domain.wal import segment_name, segment_of
from airflow_dr_provider.errors import ArchiveError
from airflow_dr_provider.postgresql.manifest import Manifest
from airflow_dr_provider.postgresql.waldump import WalDump
from airflow_dr_provider.repositories.wal_decode import Place, undecodable
from airflow_dr_provider.repositories.wal_files import ArchiveFile, ArchiveListing, plain_segments


async def own_wal_faults(
    dump: WalDump, manifest: Manifest, folder: Path, listing: ArchiveListing, segment_size: int
) -> tuple[BackupFault, ...]:
    """What is wrong with the WAL that the backup needs and that only it holds.

    Where the archive has all of it, recovery reads it there, and it is decoded when it is fetched.

    :param folder: the backup's ``pg_wal``; the manifest doesn't list what lies in it.
    """
    ranges = sorted(manifest.wal_ranges, key=lambda part: (part.start, part.timeline))
    needed: dict[int, Place] = {}
    for part in ranges:
        # At a change of timeline the younger one's file holds both.
        for number in range(segment_of(part.start, segment_size), segment_of(max(part.start, part.end - 1), segment_size) + 1):
            needed[number] = (part.timeline, number)
    places = [needed[number] for number in sorted(needed)]
    names = [segment_name(*place, segment_size) for place in places]
    if not places or all(name in listing.segments for name in names):
        return ()
    own = {name: folder / name for name in names if name not in listing.segments and (folder / name).is_file()}
    missing = [name for name in names if name not in own and name not in listing.segments]
    if missing:
        return (
            BackupFault(
                code="BACKUP_WAL_MISSING",
                path=f"pg_wal/{missing[0]}",
                detail="the backup needs it to become consistent; it is neither in the backup nor in the archive",
            ),
        )
    both = replace(
        listing,
        segments={**listing.segments, **{name: ArchiveFile(path, path.stat().st_size, "") for name, path in own.items()}},
    )
    try:
        async with plain_segments(both, places, segment_size, timeline=places[-1][0]) as paths:
            damages = await undecodable(
                dump,
                list(zip(((places[-1][0], place[1]) for place in places), paths, strict=True)),
                segment_size,
                start=ranges[0].start,
                target=Lsn(max(part.end for part in ranges) - 1),
            )
    except ArchiveError as error:
        return (BackupFault(code="BACKUP_WAL_MISSING", path="pg_wal", detail=error.message),)
    return tuple(
        BackupFault(
            code="BACKUP_WAL_MISSING",
            path=f"pg_wal/{segment_name(*damage.places[0], segment_size)}",
            detail=f"the backup needs it to become consistent: {damage.reason}",
        )
        for damage in damages
    )
