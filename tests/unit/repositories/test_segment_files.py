"""The compact map of segments to files: it answers as a dict would, in a fraction of its memory."""

from __future__ import annotations

import io
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_dr_provider.domain.wal import segment_name
from airflow_dr_provider.repositories.archive import list_archive
from airflow_dr_provider.repositories.archive_file import ArchiveFile
from airflow_dr_provider.repositories.segment_files import SegmentFiles

MIB = 1 << 20
SIZES = tuple(megabytes << 20 for megabytes in (1, 16, 64, 128, 1024))


def somewhere() -> io.BytesIO:
    return io.BytesIO(b"x")


names = st.builds(segment_name, st.integers(1, 3), st.integers(0, 9_000), st.sampled_from(SIZES))


@st.composite
def files(draw: st.DrawFn, name: str) -> ArchiveFile:
    """A file as some archive may hold it. None of them exists: a compressed one's size is what is found now, nothing."""
    folder = Path(draw(st.sampled_from(("/a", "/b c", "here"))), draw(st.sampled_from(("", name[:8], name[:16], "deep"))))
    kind = draw(st.sampled_from(("plain", "odd", "gz", "renamed", "remote", "summed")))
    if kind == "gz":
        return ArchiveFile(folder / f"{name}.gz", 0, ".gz")
    if kind == "renamed":
        return ArchiveFile(folder / "another", 7, "")
    if kind == "remote":
        return ArchiveFile(folder / name, 7, "", somewhere)
    if kind == "summed":
        return ArchiveFile(folder / f"{name}-aa.gz", 7, ".gz", None, "aa")
    return ArchiveFile(folder / name, 16 * MIB if kind == "plain" else draw(st.integers(0, 99)), "")


@given(st.data())
def test_it_is_a_dict(data: st.DataObject) -> None:
    ours, model = SegmentFiles(), {}
    for _ in range(data.draw(st.integers(0, 40))):
        name = data.draw(names if not model or data.draw(st.booleans()) else st.sampled_from(sorted(model)))
        if data.draw(st.integers(0, 4)) == 0:
            assert ours.pop(name, None) == model.pop(name, None)
        else:
            ours[name] = model[name] = data.draw(files(name))
        assert len(ours) == len(model)
        assert (name in ours) == (name in model)
    assert dict(ours) == model
    assert sorted(ours) == sorted(model)
    assert ours == model


OTHERS = (
    "",
    "history",
    "z" * 24,
    "0000000100000000FFFFFFFF",
    "00000001000000000000000é",
    "+" + "0" * 22 + "1",
    "00000001000000000000000a",
)


def test_a_name_of_another_kind_is_kept_too() -> None:
    ours = SegmentFiles()
    for name in (
        "",
        "history",
        "z" * 24,
        "0000000100000000FFFFFFFF",
        "00000001000000000000000é",
        "+" + "0" * 22 + "1",
        "00000001000000000000000a",
    ):
        with pytest.raises(KeyError):
            ours[name]
        with pytest.raises(KeyError):
            del ours[name]
        ours[name] = ArchiveFile(Path("/a", name), 7, "")
        assert ours[name].path == Path("/a", name)
    assert len(ours) == len(OTHERS)


def test_a_compressed_files_size_is_what_it_is_now(tmp_path: Path) -> None:
    name = segment_name(1, 5, MIB)
    (tmp_path / f"{name}.gz").write_bytes(b"x" * 33)
    listing = list_archive(tmp_path)
    assert listing.segments[name] == ArchiveFile(tmp_path / f"{name}.gz", 33, ".gz")
    (tmp_path / f"{name}.gz").unlink()
    assert listing.segments[name].size == 0
    with pytest.raises(FileNotFoundError):
        listing.segments[name].open()


def place_of(name: str, number: int) -> Path:
    return Path("/archive", name[:16], name) if number % 2 else Path("/archive", name)


@pytest.mark.parametrize("size", SIZES)
def test_memory_grows_with_ranges(size: int) -> None:
    """Many files, half of them in sub-folders as tools make them: a few bytes each at the most, once 4096 places are taken."""
    count = 65_536
    made = [ArchiveFile(place_of(segment_name(1, number, size), number), size, "") for number in range(count)]
    names_of = [file.path.name for file in made if str(file.path)]  # a path keeps its text once it was asked for it
    tracemalloc.start()
    ours = SegmentFiles()
    for name, file in zip(names_of, made, strict=True):
        ours[name] = file
    held = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert len(ours) == count
    assert list(ours) == sorted(ours)[::2] + sorted(ours)[1::2]
    assert held < count * 4 + 4096 * 300
