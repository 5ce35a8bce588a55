"""Segments sorted into groups, each group in memory of its ranges."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Generic, TypeVar

from airflow_dr_provider.domain.catalog import SegmentRange
from airflow_dr_provider.domain.wal import merge_ranges, union_ranges

Group = TypeVar("Group", bound=Hashable)
_PENDING = 1 << 14


class SegmentGroups(Generic[Group]):
    """Which segments belong to which group; one that is given twice may be in two."""

    def __init__(self) -> None:
        self._merged: dict[Group, tuple[SegmentRange, ...]] = {}
        self._pending: dict[Group, list[tuple[int, int]]] = {}

    def add(self, group: Group, place: tuple[int, int]) -> None:
        """Put a segment into a group.

        :param place: timeline and number.
        """
        pending = self._pending.setdefault(group, [])
        pending.append(place)
        if len(pending) >= _PENDING + len(self._merged.get(group, ())):
            self._merge(group)

    def ranges(self) -> dict[Group, tuple[SegmentRange, ...]]:
        """Every group's segments."""
        for group in tuple(self._pending):
            self._merge(group)
        return dict(self._merged)

    def _merge(self, group: Group) -> None:
        self._merged[group] = union_ranges(self._merged.get(group, ()), merge_ranges(self._pending.pop(group)))
