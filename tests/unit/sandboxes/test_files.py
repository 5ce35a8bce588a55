"""Catalogs read from a stopped cluster, runs of segments, and enclosing commands."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_dr_provider.domain.reports import Probe
from airflow_dr_provider.postgresql.account import Account
from airflow_dr_provider.postgresql.programs import Programs
from airflow_dr_provider.sandboxes import catalog_files, probes, tablespaces
from airflow_dr_provider.sandboxes.isolation import Enclosure, Way
from airflow_dr_provider.sandboxes.place import Place


def cluster(folder: Path, table: bytes, heap: bytes) -> Path:
    (folder / "global").mkdir(exist_ok=True)
    (folder / "global" / "pg_filenode.map").write_bytes(table)
    (folder / "global" / "1260").write_bytes(heap)
    return folder


def page(*rows: bytes) -> bytes:
    """A heap page (src/include/storage/bufpage.h) with those rows."""
    data = bytearray(8192)
    offset = 8192
    for index, row in enumerate(rows):
        tuple_ = bytes(22) + bytes([24, 0]) + row
        offset -= len(tuple_) + -len(tuple_) % 8
        data[offset : offset + len(tuple_)] = tuple_
        struct.pack_into("=I", data, 24 + 4 * index, offset | 1 << 15 | len(tuple_) << 17)
    struct.pack_into("=HH", data, 12, 24 + 4 * len(rows), offset)
    return bytes(data)


def role(name: str, *, superuser: bool, login: bool) -> bytes:
    return struct.pack("=I64s7?", 10, name.encode(), superuser, True, True, True, login, True, True)


MAP = struct.pack("=iiII", 0x592717, 1, 1260, 1260)


def test_superusers_that_may_log_in(tmp_path: Path) -> None:
    rows = [
        role("zoe", superuser=True, login=True),
        role("plain", superuser=False, login=True),
        role("group", superuser=True, login=False),
        role("postgres", superuser=True, login=True),
    ]
    assert catalog_files.superusers(cluster(tmp_path, MAP, page(*rows))) == ("postgres", "zoe")
    assert catalog_files.databases(tmp_path) == ()


@given(table=st.binary(max_size=64), heap=st.binary(max_size=200), known=st.booleans())
def test_damaged_catalogs_are_no_catalogs(
    tmp_path_factory: pytest.TempPathFactory, table: bytes, heap: bytes, known: bool
) -> None:
    folder = cluster(tmp_path_factory.mktemp("c"), MAP if known else table, (heap * 100)[:16384])
    assert isinstance(catalog_files.superusers(folder), tuple)


@given(st.sets(st.integers(0, 600), max_size=60), st.sampled_from([1 << 20, 1 << 24, 1 << 30]))
def test_runs_cover_every_segment_once(numbers: set[int], size: int) -> None:
    per_file = (1 << 32) // size

    def name(number: int) -> str:
        return f"00000001{number // per_file:08X}{number % per_file:08X}"

    names = sorted(map(name, numbers))
    covered = []
    for first, last in tablespaces.runs(names, segment_size=size):
        run = [one for one in names if first <= one <= last]
        covered += run
        assert len(run) == 1 + max(n for n in numbers if name(n) == last) - min(n for n in numbers if name(n) == first)
    assert covered == names


ROOT = Account(name="postgres", uid=os.geteuid() + 1000, gid=1000)
SELF = Account(name="self", uid=os.geteuid(), gid=os.getegid())


@pytest.mark.parametrize("way", list(Way))
@pytest.mark.parametrize("account", [ROOT, SELF])
def test_no_way_runs_the_server_with_privileges(tmp_path: Path, way: Way, account: Account) -> None:
    enclosure = Enclosure(way=way, place=Place.of(tmp_path, "x"), account=account)
    command = enclosure.around(("server",))
    assert command[-1] == "server"
    if way is not Way.NONE:
        assert "--no-new-privs" in command
        assert "--net" in command
    assert ("--mount" in command) is way.has_mount
    if account is ROOT:
        identity = "--map-user=" if way.has_user else "--reuid="
        assert any(word.startswith(f"{identity}{account.uid}") for word in command)


def test_probes_that_are_no_probes() -> None:
    programs = Programs(bin=Path("/bin"), major=18, version="18", root=Path("/"), trees=())

    def tried(address: str, port: int | None = None) -> tuple[str, ...]:
        return probes._command(programs, Probe(label="x", address=address, port=port))[0]

    assert tried("a b") == tried("$(id)") == tried("") == tried("x; id") == ()
    assert tried("production.example")[0] == "getent"
    assert tried("production.example", 5432)[0] == "/bin/pg_isready"
    assert tried("10.0.0.1")[-1] == "5432"
    assert tried("::1")[0] == "/bin/pg_isready"
    assert tried("/run/postgresql")[0] == "/bin/pg_isready"
