"""The segments of an archive by name, in memory that grows with the archive's ranges.

The files of one archive are called and lie alike: what tells two of them apart is the segment's name. So a local file is kept as a
bit beside its *form* (folder, how sub-folders are called, ending, size), and made anew when it is asked for. What has no form
of its own kind, a file in a bucket or one of an odd size, is kept as it is.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, MutableMapping
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

from airflow_dr_provider.repositories.archive_file import ArchiveFile

_FORMS = 16
"""How many forms are told apart; the files of further ones are kept as they are."""

_LOW_BITS = 12
"""4 GiB of WAL have at most 4096 segments (of 1 MiB); names count them in their last eight digits."""

_BLOCK_BITS = 8
_BLOCK = 1 << _BLOCK_BITS


class _Form(NamedTuple):
    """What the files of an archive have in common.

    :param inside: how many letters of the segment's name are its sub-folder's: 0 for none, 8 or 16.
    :param size: of a plain file; None for compressed ones, whose sizes differ and are looked up.
    """

    folder: str
    inside: int
    ending: str
    compression: str
    size: int | None

    def file(self, name: str) -> ArchiveFile:
        path = os.path.join(self.folder, name[: self.inside], name + self.ending)
        return ArchiveFile(Path(path), self.size if self.size is not None else _size(path), self.compression)


def _size(path: str) -> int:
    """A file's size; 0 for one that is gone since it was listed, which whoever opens it will be told."""
    try:
        return os.stat(path).st_size
    except OSError:
        return 0


class SegmentFiles(MutableMapping[str, ArchiveFile]):
    """Segments' names with their files; iterating over it gives each form's names in order."""

    def __init__(self) -> None:
        self._forms: dict[_Form, dict[int, int]] = {}
        self._others: dict[str, ArchiveFile] = {}
        self._count = 0

    def __getitem__(self, name: str) -> ArchiveFile:
        if name in self._others:
            return self._others[name]
        form = self._form_with(name)
        if form is None:
            raise KeyError(name)
        return form.file(name)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and (name in self._others or self._form_with(name) is not None)

    def __setitem__(self, name: str, file: ArchiveFile) -> None:
        if name in self:
            del self[name]
        form, place = _form_of(name, file), _place(name)
        if form is None or place is None or (form not in self._forms and len(self._forms) == _FORMS):
            self._others[name] = file
        else:
            blocks = self._forms.setdefault(form, {})
            blocks[place[0]] = blocks.get(place[0], 0) | 1 << place[1]
        self._count += 1

    def __delitem__(self, name: str) -> None:
        if self._others.pop(name, None) is None:
            form, place = self._form_with(name), _place(name)
            if form is None or place is None:
                raise KeyError(name)
            self._forms[form][place[0]] &= ~(1 << place[1])
        self._count -= 1

    def __iter__(self) -> Iterator[str]:
        for blocks in list(self._forms.values()):
            yield from _names(blocks)
        yield from list(self._others)

    def __len__(self) -> int:
        return self._count

    def _form_with(self, name: str) -> _Form | None:
        place = _place(name)
        if place is None:
            return None
        return next((form for form, blocks in self._forms.items() if blocks.get(place[0], 0) >> place[1] & 1), None)


def _form_of(name: str, file: ArchiveFile) -> _Form | None:
    """A file's form; None for one that a form doesn't tell all about."""
    if file.source is not None or file.sha1 or file.tag or file.spare is not None:
        return None
    folder, base = os.path.split(str(file.path))
    if not base.startswith(name):
        return None
    parent, last = os.path.split(folder)
    inside = len(last) if len(last) in (8, 16) and name.startswith(last) else 0
    size = None if file.compression else file.size
    return _Form(parent if inside else folder, inside, base[len(name) :], file.compression, size)


def _place(name: str) -> tuple[int, int] | None:
    """The block of a segment's name and its bit in there; None for what is no segment's name.

    A block holds the segments of one and the same place in 256 logs that follow each other, so that blocks are full whether a
    log of 4 GiB has 4096 segments or four.
    """
    if len(name) != 24:
        return None
    try:
        value = int(name, 16)
    except ValueError:
        return None
    log, low = value >> 32, value & 0xFFFFFFFF
    if low >> _LOW_BITS or f"{value:024X}" != name:
        return None
    return log >> _BLOCK_BITS << _LOW_BITS | low, log & _BLOCK - 1


def _names(blocks: Mapping[int, int]) -> Iterator[str]:
    """The names whose bits are set, in order."""
    for first, members in groupby(sorted(blocks), key=lambda index: index >> _LOW_BITS):
        lows = [(index & (1 << _LOW_BITS) - 1, blocks[index]) for index in members]
        for bit in range(_BLOCK):
            log = first << _BLOCK_BITS | bit
            yield from [f"{log:016X}{low:08X}" for low, bits in lows if bits >> bit & 1]
