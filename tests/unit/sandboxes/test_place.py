"""A sandbox's directory, and the work folder that comes and goes with it."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from airflow_dr_provider.errors import ConfigurationError
from airflow_dr_provider.postgresql.account import Account
from airflow_dr_provider.sandboxes import credentials
from airflow_dr_provider.sandboxes.place import MARKER, WORKDIR_MARKER, Place, write

SELF = Account(name="self", uid=os.geteuid(), gid=os.getegid())


def test_the_work_folder_goes_with_its_last_sandbox(tmp_path: Path) -> None:
    workdir = tmp_path / "a" / "b" / "work"
    first, second = Place.of(workdir, "first"), Place.of(workdir, "second")
    first.make(SELF)
    second.make(SELF)
    first.remove()
    assert second.ours
    assert not first.exists
    first.remove()
    second.remove()
    assert list(tmp_path.iterdir()) == []


def test_a_work_folder_with_something_of_others_stays(tmp_path: Path) -> None:
    place = Place.of(tmp_path / "a" / "work", "x")
    place.make(SELF)
    (tmp_path / "a" / "other").touch()
    place.remove()
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["other"]


def test_a_work_folder_that_was_there_is_not_ours_to_remove(tmp_path: Path) -> None:
    place = Place.of(tmp_path, "x")
    place.make(SELF)
    assert not place.workdir_made
    place.remove()
    assert tmp_path.exists()
    assert not (tmp_path / WORKDIR_MARKER).exists()


def test_made_twice_and_after_being_cut_off(tmp_path: Path) -> None:
    place = Place.of(tmp_path, "x")
    place.root.mkdir()  # killed between the directory and its marker
    place.make(SELF)
    place.note(kept=1)
    place.make(SELF)
    assert place.ours
    assert place.notes() == {"kept": 1}
    (place.root / MARKER).write_text("sandbox another\n")
    assert not place.ours
    with pytest.raises(ConfigurationError):
        place.make(SELF)


def test_folders_without_permission_are_removed_all_the_same(tmp_path: Path) -> None:
    place = Place.of(tmp_path, "x")
    place.make(SELF)
    (place.data / "a" / "b").mkdir(parents=True)
    (place.data / "a" / "b" / "file").touch()
    (place.data / "a").chmod(0)
    place.remove()
    assert not place.exists


def test_a_removal_that_is_cut_off_can_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = Place.of(tmp_path, "x")
    place.make(SELF)
    place.note(kept=1)

    def cut_off(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    for function in ("rmtree", "unlink"):
        with monkeypatch.context() as patched:
            patched.setattr(shutil if function == "rmtree" else Path, function, cut_off)
            with pytest.raises(KeyboardInterrupt):
                place.remove()
        assert place.ours
    place.remove()
    assert not place.exists


def test_removing_follows_no_link(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").touch()
    place = Place.of(tmp_path / "work", "x")
    place.make(SELF)
    (place.data / "link").symlink_to(outside)
    (place.root / "log").symlink_to(outside / "file")
    place.remove()
    assert (outside / "file").exists()


def test_written_whole_and_closed(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    (tmp_path / "secret.new").symlink_to(tmp_path / "elsewhere")
    write(path, "one", 0o600)
    write(path, "two", 0o600)
    assert path.read_text() == "two"
    assert path.stat().st_mode & 0o777 == 0o600
    assert not (tmp_path / "elsewhere").exists()
    assert [entry.name for entry in tmp_path.iterdir()] == ["secret"]


def test_credentials_are_made_once_and_never_shown(tmp_path: Path) -> None:
    place = Place.of(tmp_path, "x")
    place.make(SELF)
    assert credentials.load(place) is None
    made = credentials.make(place)
    assert credentials.make(place) == made == credentials.load(place)
    assert place.credentials.stat().st_mode & 0o777 == 0o600
    assert len({credential.password for credential in made.values()}) == 2
    for credential in made.values():
        assert len(credential.password) >= 32
        assert credential.password not in credentials.redacted(place, f"password={credential.password}!")
        assert credential.password not in json.dumps(place.notes())
    assert credentials.redacted(Place.of(tmp_path, "other"), "plain") == "plain"


def test_the_door(tmp_path: Path) -> None:
    place = Place.of(tmp_path, "x")
    place.make(SELF)
    assert not credentials.door_is_closed(place)
    credentials.open_door(place, SELF)
    assert not credentials.door_is_closed(place)
    made = credentials.make(place)
    credentials.close_door(place, SELF, made)
    assert credentials.door_is_closed(place)
    lines = (place.conf / "pg_hba.conf").read_text().splitlines()
    assert lines == [f'local all "{credential.user}" scram-sha-256' for credential in made.values()]
