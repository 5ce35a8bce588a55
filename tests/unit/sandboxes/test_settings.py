"""The configuration that a restored server gets, and what of the backup's is read."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_dr_provider.domain.coordinate import RestoreCoordinate
from airflow_dr_provider.domain.lsn import Lsn
from airflow_dr_provider.domain.target import RecoveryTarget, ResolvedTarget
from airflow_dr_provider.sandboxes import settings

CONTROL = {
    "max_connections setting": "100",
    "max_worker_processes setting": "8",
    "max_wal_senders setting": "10",
    "max_prepared_xacts setting": "0",
    "max_locks_per_xact setting": "64",
    "track_commit_timestamp setting": "on",
}


def made(major: int = 18, *, inclusive: bool = True, segment_size: int = 1 << 24, **how: object) -> dict[str, str]:
    coordinate = RestoreCoordinate(
        backup_id="b",
        server_version=major,
        target=ResolvedTarget(timeline=3, lsn=Lsn("1/2A"), inclusive=inclusive, requested=RecoveryTarget()),
        segment_size=segment_size,
    )
    values = {"name": "x" * 80, "libraries": ["a", "b"], "posix_memory": True, **how}
    return settings.server_settings(coordinate, CONTROL, **values)  # type: ignore[arg-type]


def parsed(text: str) -> dict[str, str]:
    """A postgresql.conf as PostgreSQL reads it (manual, *Setting Parameters*): quotes doubled, backslashes escape."""
    found = {}
    for line in text.splitlines():
        name, _, value = line.partition(" = ")
        assert value[0] == value[-1] == "'"
        found[name] = value[1:-1].replace("''", "'").replace("\\\\", "\\")
    return found


@pytest.mark.parametrize("major", [13, 14, 15, 16, 17, 18])
def test_it_archives_nowhere_and_listens_to_nobody(major: int) -> None:
    said = made(major)
    for name, value in settings.ASSERTED.items():
        if name in said:
            assert said[name] == value
    assert said["archive_command"] == ""
    assert ("archive_library" in said) is (major >= 15)
    assert ("event_triggers" in said) is (major >= 17)
    assert said["recovery_target_action"] == "pause"
    assert (said["recovery_target_lsn"], said["recovery_target_timeline"]) == ("1/2A", "3")
    assert len(said["cluster_name"]) <= 63
    assert said["track_commit_timestamp"] == "on"
    assert said["shared_preload_libraries"] == "a,b"


def test_what_differs() -> None:
    assert made()["recovery_target_inclusive"] == "on"
    assert made(inclusive=False)["recovery_target_inclusive"] == "off"
    assert made()["dynamic_shared_memory_type"] == "posix"
    assert made(posix_memory=False)["dynamic_shared_memory_type"] == "mmap"
    assert made()["max_connections"] == "100"
    assert made(raised={"max_connections": 700, "max_wal_senders": 3})["max_connections"] == "700"
    assert made(raised={"max_wal_senders": 3})["max_wal_senders"] == "10"


@pytest.mark.parametrize(("megabytes", "least", "most"), [(1, 80, 1024), (16, 80, 1024), (64, 128, 1024), (1024, 2048, 2048)])
def test_two_segments_fit_into_what_wal_may_take(megabytes: int, least: int, most: int) -> None:
    said = made(segment_size=megabytes << 20)
    assert (said["min_wal_size"], said["max_wal_size"]) == (f"{least}MB", f"{most}MB")


NAMES = st.from_regex(r"[a-z_]{1,20}", fullmatch=True)
LINE_BREAKS = "\n\r\0\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029"  # what str.splitlines() splits at


@given(st.dictionaries(NAMES, st.text(st.characters(exclude_characters=LINE_BREAKS))))
def test_what_is_written_is_what_is_read(values: dict[str, str]) -> None:
    assert parsed(settings.rendered(values)) == values


@pytest.mark.parametrize("value", ["a\nfsync = on", "a\r", "a\0"])
def test_no_setting_hides_in_another(value: str) -> None:
    with pytest.raises(ValueError, match="line break"):
        settings.rendered({"x": value})


@pytest.mark.parametrize(
    ("conf", "auto", "loaded"),
    [
        ("shared_preload_libraries = 'one, two'\n", None, ("two",)),
        ("shared_preload_libraries=two # comment\n", None, ("two",)),
        ("SHARED_PRELOAD_LIBRARIES 'two'\n", None, ("two",)),
        ("shared_preload_libraries = '\"two\",$libdir/three.so'\n", None, ("two", "three")),
        ("shared_preload_libraries = 'two'\n", "shared_preload_libraries = 'one'\n", ()),
        ("shared_preload_libraries = 'two'\nshared_preload_libraries = ''\n", None, ()),
        ("#shared_preload_libraries = 'two'\n", None, ()),
        ("", None, ()),
        (None, None, ("two", "three")),
        (None, "shared_preload_libraries = 'three'\n", ("three",)),
    ],
)
def test_libraries_that_the_backup_wants_and_the_sandbox_allows(
    tmp_path: Path, conf: str | None, auto: str | None, loaded: tuple[str, ...]
) -> None:
    for name, text in (("postgresql.conf", conf), ("postgresql.auto.conf", auto)):
        if text is not None:
            (tmp_path / name).write_text(text)
    assert settings.wanted_libraries(tmp_path, ("two", "three")) == loaded


def test_a_configuration_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_text("shared_preload_libraries = 'two'\n")
    (tmp_path / "postgresql.conf").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "postgresql.auto.conf").write_text("")
    assert settings.wanted_libraries(tmp_path, ("three",)) == ("three",)
