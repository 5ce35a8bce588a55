"""The header of a WAL page: which cluster, timeline, place and version its segment is of (``xlog_internal.h``)."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from airflow_dr_provider.domain.lsn import Lsn

LENGTH = 40
"""Bytes of the long header, with which each segment begins."""

PAGE = 8192
"""Bytes of a page; no release is built with another size."""

_SHORT_LENGTH = 24
_LONG = struct.Struct("=HHIQI4xQII")
_HAS_LONG_HEADER = 0x0002
_OVERWRITES = 0x0008
_MAGIC_RANGE = range(0xD060, 0xD200)
_SIZES = frozenset(1 << power for power in range(20, 31))

# XLOG_PAGE_MAGIC of each major version's releases.
_MAJORS = {0xD097: 10, 0xD098: 11, 0xD101: 12, 0xD106: 13, 0xD10D: 14, 0xD110: 15, 0xD113: 16, 0xD116: 17, 0xD118: 18}


@dataclass(frozen=True, kw_only=True)
class WalHeader:
    """The long header of a segment's first page.

    :param major: PostgreSQL's major version, None for one that this table doesn't know yet.
    :param timeline: of the page; in the segment at which a timeline was left it is the parent's.
    :param page_start: the LSN of the page.
    :param segment_size: bytes.
    :param continued: bytes left of a record that began in an earlier segment; 0 when none runs on into this one.
    :param overwrites: whether a record that began in an earlier segment was given up: the server had crashed while it wrote it.
    """

    major: int | None
    timeline: int
    page_start: Lsn
    system_identifier: int
    segment_size: int
    block_size: int
    continued: int = 0
    overwrites: bool = False

    @property
    def has_record(self) -> bool:
        """Whether a record begins in the segment; False when one that began before fills it whole."""
        end = record_end(self.page_start + LENGTH, self.continued, self.segment_size) if self.continued else self.page_start
        return end < self.page_start + self.segment_size


def parse_header(content: bytes) -> WalHeader | str:
    """The header, or what is wrong with it as the end of a sentence.

    :param content: the first :data:`LENGTH` bytes of a segment.
    """
    if len(content) < LENGTH:
        return "is shorter than a WAL page's header"
    if not any(content[:LENGTH]):
        return "is filled with zeros"
    magic, info, timeline, page_start, continued, identifier, segment_size, block_size = _LONG.unpack(content[:LENGTH])
    if magic not in _MAGIC_RANGE:
        return "does not begin with a WAL page of this machine's byte order"
    if not info & _HAS_LONG_HEADER or segment_size not in _SIZES or timeline == 0:
        return "does not begin with a segment's first page"
    return WalHeader(
        major=_MAJORS.get(magic),
        timeline=timeline,
        page_start=Lsn(page_start),
        system_identifier=identifier,
        segment_size=segment_size,
        block_size=block_size,
        continued=continued,
        overwrites=bool(info & _OVERWRITES),
    )


def record_end(start: int, length: int, segment_size: int, *, fills_segment: bool = False) -> Lsn:
    """The position after a record, page headers on its way counted (``XLogReadRecord`` in ``xlogreader.c``).

    :param start: the record's LSN.
    :param length: its total length as ``pg_waldump`` shows it, in bytes.
    :param fills_segment: for a segment switch, which takes the rest of its segment.
    """
    if fills_segment:
        return Lsn((start // segment_size + 1) * segment_size)
    position, rest = start, length
    while rest > (free := PAGE - position % PAGE):
        rest -= free
        position += free
        position += LENGTH if position % segment_size == 0 else _SHORT_LENGTH
    return Lsn((position + rest + 7) // 8 * 8)
