"""Were the restored bytes the backed-up ones?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import ClassVar

from airflow_dr_provider.checks.base import CheckContext
from airflow_dr_provider.domain.verdicts import CheckResult, Verdict

_LISTED = 100


class ChecksumCheck:
    """Reports what the restore found when it compared every byte it wrote with the backup's manifest.

    Proves that the files are the ones the backup tool read. Can't prove that what it read was sound: a page that was corrupt
    in production has a good checksum too (amcheck, row_counts and the smoke tests look at the contents).
    """

    name: ClassVar[str] = "checksum"
    default_timeout: ClassVar[float] = 10.0

    async def run(self, context: CheckContext) -> Sequence[CheckResult]:
        """Judge the report; nothing is read again."""
        files = context.files
        measurements = {"files": float(files.files), "bytes": float(files.bytes_read)}
        if files.faults:
            kinds = Counter(fault.code for fault in files.faults)
            first = files.faults[0]
            more = f" and {len(files.faults) - 1} more" if len(files.faults) > 1 else ""
            return (
                CheckResult(
                    name=self.name,
                    verdict=Verdict.FAILED,
                    signature=first.code,
                    detail=f"{first.path or 'the backup'}: {first.detail}{more}.",
                    measurements=measurements,
                    facts={
                        "faults": [fault.model_dump() for fault in files.faults[:_LISTED]],
                        "by_code": dict(sorted(kinds.items())),
                    },
                ),
            )
        if files.vouched_by is not None:
            return (
                CheckResult(
                    name=self.name,
                    verdict=Verdict.COULD_NOT_VERIFY,
                    signature="NO_REFERENCE",
                    required=False,
                    detail=f"{files.vouched_by} restored the files by itself; none of them could be compared here.",
                    measurements=measurements,
                ),
            )
        if not files.verified or files.files == 0:
            read_something = files.files > 0
            return (
                CheckResult(
                    name=self.name,
                    verdict=Verdict.COULD_NOT_VERIFY,
                    signature="NO_REFERENCE",
                    required=not read_something,
                    detail=(
                        f"{files.files} files have the size that the manifest says, and the manifest has no checksums to compare "
                        f"their bytes with. Take backups with --manifest-checksums=CRC32C or better."
                        if read_something
                        else "The restore reported no file that it had compared with a manifest."
                    ),
                    measurements=measurements,
                ),
            )
        return (
            CheckResult(
                name=self.name,
                verdict=Verdict.PASSED,
                detail=f"{files.files} files, {files.bytes_read} bytes: each has the checksum that the manifest promises.",
                measurements=measurements,
            ),
        )
