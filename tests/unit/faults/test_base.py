"""What a deed may touch, and that each fault of the list has one."""

from __future__ import annotations

import os
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from airflow_dr_provider.domain.fault_list import FAULTS
from airflow_dr_provider.domain.signatures import SIGNATURES
from airflow_dr_provider.errors import SandboxError
from airflow_dr_provider.faults.base import DEEDS, Victim, deed
from airflow_dr_provider.faults.files import PAGE, overwrite_control


def victim(root: Path, **changes: Any) -> Victim:
    async def nothing(*_: Any) -> Any:
        raise AssertionError("not asked for")

    values: dict[str, Any] = {
        "root": root, "data": root / "data", "wal": root / "wal", "size_bytes": 1, "connect": nothing, "databases": nothing,
        "server": nothing, "start": nothing, "held": AsyncExitStack(), **changes,
    }  # fmt: skip
    return Victim(**values)


def test_every_fault_has_a_deed_and_every_deed_a_fault() -> None:
    assert set(DEEDS) == set(FAULTS)
    assert all(callable(deed(name)) and deed(name).__doc__ for name in DEEDS)


def test_what_is_expected_can_be_said() -> None:
    assert {code for fault in FAULTS.values() for code in fault.signatures} <= set(SIGNATURES)


@pytest.fixture
def control(tmp_path: Path) -> Path:
    path = tmp_path / "box" / "data" / "global" / "pg_control"
    path.parent.mkdir(parents=True)
    path.write_bytes(bytes(PAGE))
    return path


async def test_a_file_of_its_own_is_damaged_and_twice_is_once(tmp_path: Path, control: Path) -> None:
    assert "global/pg_control" in await overwrite_control(victim(tmp_path / "box"))
    once = control.read_bytes()
    assert (len(once), once.count(0)) == (PAGE, PAGE - 128)
    await overwrite_control(victim(tmp_path / "box"))
    assert control.read_bytes() == once


@pytest.mark.parametrize("way", ["hard link", "link out", "folder out"])
async def test_what_may_be_somebody_elses_is_left_alone(tmp_path: Path, control: Path, way: str) -> None:
    other = tmp_path / "repository" / "pg_control"
    other.parent.mkdir()
    if way == "hard link":
        os.link(control, other)
    else:
        control.rename(other)
        if way == "folder out":
            control.parent.rmdir()
            control.parent.symlink_to(other.parent)
        else:
            control.symlink_to(other)
    with pytest.raises(SandboxError) as raised:
        await overwrite_control(victim(tmp_path / "box"))
    assert raised.value.code == "INJECTION_REFUSED"
    assert other.read_bytes() == bytes(PAGE)
