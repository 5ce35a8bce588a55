"""Faults made to be missed: the manifest fits, where it matters the page checksums do, and catalogs are changed by a hair."""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Callable
from pathlib import Path

from tests.scenarios.matrix.ground import PAGE, Ground, Make, Row, Seen, flip
from tests.scenarios.matrix.servers import sql

OTHER = "secondary with first"
Damage = Callable[[Path, Ground], None]


# -- a manifest that fits ----------------------------------------------------------------------------------------------
def fitting(which: str, damage: Damage) -> Make:
    """Damage to one file of the newest backup, and a manifest that says it was always so."""

    def make(ground: Ground) -> None:
        path = ground.file(which)
        damage(path, ground)
        fit_manifest(ground, path)

    return make


def fit_manifest(ground: Ground, *paths: Path) -> None:
    """Write the files' sizes and checksums into the manifest, and its own checksum anew (manual, *Backup Manifest Format*)."""
    place = ground.file("backup_manifest")
    text = place.read_text()
    head, _, _ = text.rpartition('"Manifest-Checksum"')
    manifest = json.loads(text)
    for path in paths:
        name = path.relative_to(ground.newest).as_posix()
        (entry,) = (entry for entry in manifest["Files"] if entry.get("Path") == name)
        (line,) = (line for line in head.splitlines() if f'"{name}"' in line)
        content = path.read_bytes()
        new = {**entry, "Size": len(content), "Checksum-Algorithm": "SHA256", "Checksum": hashlib.sha256(content).hexdigest()}
        head = head.replace(line, json.dumps(new) + ("," if line.rstrip().endswith(",") else ""), 1)
    place.write_text(f'{head}"Manifest-Checksum": "{hashlib.sha256(head.encode()).hexdigest()}"}}\n')


# -- page checksums that fit -------------------------------------------------------------------------------------------
_PRIME, _SUMS, _MASK = 16777619, 32, 0xFFFFFFFF
_OFFSETS = (
    0x5B1F36E9, 0xB8525960, 0x02AB50AA, 0x1DE66D2A, 0x79FF467A, 0x9BB9F8A3, 0x217E7CD2, 0x83E13D2C, 0xF8D4474F, 0xE39EB970,
    0x42C6AE16, 0x993216FA, 0x7B093B5D, 0x98DAFF3C, 0xF718902A, 0x0B1C9CDB, 0xE58F764B, 0x187636BC, 0x5D7B3BB1, 0xE73DE7DE,
    0x92BEC979, 0xCCA6C0B2, 0x304A0979, 0x85AA43D4, 0x783125BB, 0x6CA8EAA2, 0xE407EAC6, 0x4B5CFC3E, 0x9FBF8C76, 0x15CA20BE,
    0xF2CA9FD3, 0x959BD756,
)  # fmt: skip


def page_checksum(page: bytes, block: int) -> int:
    """A page's checksum (``checksum_impl.h``), its own two bytes taken as zero."""
    words = struct.unpack(f"<{PAGE // 4}I", page[:8] + b"\0\0" + page[10:])
    sums = list(_OFFSETS)

    def mix(index: int, value: int) -> None:
        mixed = sums[index] ^ value
        sums[index] = (mixed * _PRIME & _MASK) ^ (mixed >> 17)

    for at in range(0, len(words), _SUMS):
        for index in range(_SUMS):
            mix(index, words[at + index])
    for _ in range(2):
        for index in range(_SUMS):
            mix(index, 0)
    folded = 0
    for value in sums:
        folded ^= value
    return (folded ^ block) % 65535 + 1


def sealed(change: Callable[[bytearray, int], bool]) -> Damage:
    """A change of pages, each with a checksum that fits; it says of every page whether it changed it."""

    def damage(path: Path, ground: Ground) -> None:
        content = bytearray(path.read_bytes())
        changed = 0
        for block in range(len(content) // PAGE):
            page = content[block * PAGE : (block + 1) * PAGE]
            if any(page) and change(page, block):
                struct.pack_into("<H", page, 8, page_checksum(bytes(page), block))
                content[block * PAGE : (block + 1) * PAGE] = page
                changed += 1
        if not changed:
            raise AssertionError(f"nothing in {path} was changed")
        path.write_bytes(content)

    return damage


def _items(page: bytearray) -> list[tuple[int, int, int]]:
    """Line pointers: where each lies, the offset and the length of what it points to (``ItemIdData``)."""
    lower = struct.unpack_from("<H", page, 12)[0]
    found = []
    for at in range(24, lower, 4):
        word = struct.unpack_from("<I", page, at)[0]
        if word >> 15 & 3 == 1:
            found.append((at, word & 0x7FFF, word >> 17))
    return found


def _one_item(act: Callable[[bytearray, int, int, int], None], of_block: int = 2) -> Callable[[bytearray, int], bool]:
    def change(page: bytearray, block: int) -> bool:
        items = _items(page)
        if block != of_block or len(items) < 5:
            return False
        act(page, *items[len(items) // 2])
        return True

    return change


def _value(page: bytearray, at: int, offset: int, length: int) -> None:
    """The second column, of 8 bytes, behind a header of 24 and a first column of 8: a foreign key with an index."""
    struct.pack_into("<q", page, offset + 32, 424242)


def _first_value(page: bytearray, at: int, offset: int, length: int) -> None:
    struct.pack_into("<q", page, offset + 24, 424242424242)


def _unused(page: bytearray, at: int, offset: int, length: int) -> None:
    """The line pointer says that there was never anything."""
    struct.pack_into("<I", page, at, 0)


def _dead(page: bytearray, at: int, offset: int, length: int) -> None:
    """The line pointer is dead, as after a pruning."""
    struct.pack_into("<I", page, at, 3 << 15)


def _swapped_order(page: bytearray, at: int, offset: int, length: int) -> None:
    """Two neighbouring line pointers have each other's place."""
    one, two = page[at : at + 4], page[at + 4 : at + 8]
    page[at : at + 4], page[at + 4 : at + 8] = two, one


def _all_visible(page: bytearray, block: int) -> bool:
    """Every heap page is said to be visible to all, and frozen."""
    if block:
        return False
    page[24:PAGE] = b"\xff" * (PAGE - 24)
    return True


def _zero(page: bytearray, block: int) -> bool:
    if block != 2:
        return False
    page[:] = bytes(PAGE)
    return True


def _zero_page(path: Path, ground: Ground) -> None:
    content = bytearray(path.read_bytes())
    content[2 * PAGE : 3 * PAGE] = bytes(PAGE)
    path.write_bytes(content)


def _older(path: Path, ground: Ground) -> None:
    path.write_bytes((ground.folder / "backups" / "first" / path.relative_to(ground.newest)).read_bytes())


def _cut(path: Path, ground: Ground) -> None:
    path.write_bytes(path.read_bytes()[: -PAGE * 3])


def _emptied(path: Path, ground: Ground) -> None:
    path.write_bytes(b"")


def _swap(ground: Ground) -> None:
    """Two tables of the same columns hold each other's rows."""
    one, two = ground.file("part"), ground.file("twin")
    first, second = one.read_bytes(), two.read_bytes()
    one.write_bytes(second)
    two.write_bytes(first)
    fit_manifest(ground, one, two)


def _flip(path: Path, ground: Ground) -> None:
    flip(path)


def _flip_of(offset: int) -> Damage:
    return lambda path, ground: flip(path, offset)


def _rows(*table: tuple[str, str, Make, str]) -> tuple[Row, ...]:
    return tuple(Row(name, "adversary", how, make, Seen(code, OTHER)) for name, how, make, code in table)


def _unseen(*table: tuple[str, str, Make]) -> tuple[Row, ...]:
    """Faults that no check sees, or that are none: the table says so too, and complains once one is seen."""
    return tuple(Row(name, "unseen", how, make, Seen("RECOVERED", "primary with second")) for name, how, make in table)


def _changed(*table: tuple[str, str, str]) -> tuple[Row, ...]:
    return tuple(Row(name, "adversary", statement, sql(statement), Seen(code, OTHER)) for name, statement, code in table)


ROWS = (
    *_rows(
        ("fitting byte in heap", "a byte of a table, and a manifest that fits", fitting("heap", _flip), "DATA_CORRUPT"),
        ("fitting byte in index", "a byte of an index, and a manifest that fits", fitting("key", _flip), "DATA_CORRUPT"),
        ("fitting byte in toast", "a byte of a value stored out of line", fitting("toast", _flip), "PAGE_CHECKSUM_MISMATCH"),
        ("fitting byte in catalog", "a byte of pg_class", fitting("catalog", _flip), "DATABASE_UNUSABLE"),
        ("fitting byte in control file", "a byte of pg_control", fitting("global/pg_control", _flip_of(60)), "BACKUP_UNREADABLE"),
        ("fitting byte in relation map", "a byte of pg_filenode.map", fitting("global/pg_filenode.map", _flip_of(20)),
         "DATABASE_UNUSABLE"),
        ("fitting page zeroed", "a page of a table is zeros", fitting("heap", _zero_page), "DATA_CORRUPT"),
        ("fitting table cut", "a table's last pages are gone", fitting("heap", _cut), "DATA_CORRUPT"),
        ("fitting table emptied", "a table without an index is empty", fitting("twin", _emptied), "ROW_COUNT_DROPPED"),
        ("fitting older table", "a table's file is of an older backup", fitting("heap", _older), "DATA_CORRUPT"),
        ("sealed key changed", "a key's value, with a page checksum that fits", fitting("heap", sealed(_one_item(_first_value))),
         "DATA_CORRUPT"),
        ("sealed foreign key changed", "a foreign key's value", fitting("heap", sealed(_one_item(_value))), "FOREIGN_KEY_ORPHANS"),
        ("sealed row lost", "a row's line pointer is unused", fitting("heap", sealed(_one_item(_unused))), "DATA_CORRUPT"),
        ("sealed row dead", "a row's line pointer is dead", fitting("heap", sealed(_one_item(_dead))), "DATA_CORRUPT"),
        ("sealed index entry dead", "an index's entry is gone", fitting("key", sealed(_one_item(_unused, 1))), "DATA_CORRUPT"),
        ("sealed index order", "two entries of an index are swapped", fitting("key", sealed(_one_item(_swapped_order, 1))),
         "DATA_CORRUPT"),
        ("sealed visibility map", "every page is said to be visible to all", fitting("visibility map", sealed(_all_visible)),
         "DATA_CORRUPT"),
    ),
    *_changed(
        ("constraint not validated", "UPDATE pg_constraint SET convalidated = false WHERE conname = 'orders_amount_check'",
         "SCHEMA_DRIFT"),
        ("check changed", "ALTER TABLE shop.orders DROP CONSTRAINT orders_amount_check, ADD CONSTRAINT orders_amount_check"
         " CHECK (amount >= -1)", "SCHEMA_DRIFT"),
        ("foreign key not deferred as before", "ALTER TABLE shop.orders ALTER CONSTRAINT orders_customer_id_fkey DEFERRABLE",
         "SCHEMA_DRIFT"),
        ("every trigger disabled", "ALTER TABLE shop.orders DISABLE TRIGGER ALL", "SCHEMA_DRIFT"),
        ("key's own triggers disabled", "UPDATE pg_trigger SET tgenabled = 'D' WHERE tgisinternal AND tgrelid ="
         " 'shop.orders'::regclass", "SCHEMA_DRIFT"),
        ("owner changed to another", "ALTER TABLE shop.documents OWNER TO clerk", "SCHEMA_DRIFT"),
        ("schema's owner changed", "ALTER SCHEMA shop OWNER TO clerk", "SCHEMA_DRIFT"),
        ("grant added", "GRANT ALL ON shop.customers TO PUBLIC", "SCHEMA_DRIFT"),
        ("column grant added", "GRANT UPDATE (email) ON shop.customers TO clerk", "SCHEMA_DRIFT"),
        ("function runs as its owner", "ALTER FUNCTION shop.touch() SECURITY DEFINER", "SCHEMA_DRIFT"),
        ("function's path changed", "ALTER FUNCTION shop.touch() SET search_path = elsewhere", "SCHEMA_DRIFT"),
        ("view without its barrier", "ALTER VIEW shop.revenue SET (security_invoker = true)", "SCHEMA_DRIFT"),
        ("policy widened", "ALTER POLICY readers ON shop.documents TO PUBLIC", "SCHEMA_DRIFT"),
        ("policy condition changed", "ALTER POLICY readers ON shop.documents USING (id > 0)", "SCHEMA_DRIFT"),
        ("row security forced", "ALTER TABLE shop.documents FORCE ROW LEVEL SECURITY", "SCHEMA_DRIFT"),
        ("identity relaxed", "ALTER TABLE shop.customers ALTER id SET GENERATED BY DEFAULT", "SCHEMA_DRIFT"),
        ("sequence step changed", "ALTER SEQUENCE shop.numbers INCREMENT 2", "SCHEMA_DRIFT"),
        ("partition bound changed", "ALTER TABLE shop.events DETACH PARTITION shop.events_old; ALTER TABLE shop.events ATTACH"
         " PARTITION shop.events_old FOR VALUES FROM ('1999-01-01') TO ('2026-01-01')", "SCHEMA_DRIFT"),
        ("table unlogged", "ALTER TABLE shop.documents SET UNLOGGED", "SCHEMA_DRIFT"),
        ("index not unique", "UPDATE pg_index SET indisunique = false, indimmediate = true WHERE indexrelid ="
         " 'shop.customers_email_key'::regclass", "INDEX_DRIFT"),
        ("index not ready", "UPDATE pg_index SET indisready = false WHERE indexrelid = 'shop.orders_by_customer'::regclass",
         "INDEX_INVALID"),
        ("storage parameter changed", "ALTER TABLE shop.orders SET (autovacuum_enabled = off)", "SCHEMA_DRIFT"),
        ("replica identity changed", "ALTER TABLE shop.orders REPLICA IDENTITY NOTHING", "SCHEMA_DRIFT"),
        ("cast dropped", "DROP CAST (text AS shop.state)", "SCHEMA_DRIFT"),
        ("operator dropped", "DROP OPERATOR shop.=== (int, int)", "SCHEMA_DRIFT"),
        ("search configuration dropped", "DROP TEXT SEARCH CONFIGURATION shop.words", "SCHEMA_DRIFT"),
        ("large object lost", "SELECT lo_unlink(oid) FROM pg_largeobject_metadata", "ROW_COUNT_DROPPED"),
        ("role may not log in", "ALTER ROLE clerk LOGIN", "ROLE_DRIFT"),
        ("role setting changed", "ALTER ROLE clerk SET search_path = elsewhere", "ROLE_DRIFT"),
        ("role became a member", "GRANT pg_write_all_data TO clerk", "ROLE_DRIFT"),
        ("database lost", "DROP DATABASE reports", "SCHEMA_DRIFT"),
        ("database closed", "ALTER DATABASE reports ALLOW_CONNECTIONS false", "SCHEMA_DRIFT"),
        ("publication dropped", "DROP PUBLICATION everything", "SCHEMA_DRIFT"),
        ("statistics object dropped", "DROP STATISTICS shop.together", "SCHEMA_DRIFT"),
        ("event trigger dropped", "DROP EVENT TRIGGER watching", "SCHEMA_DRIFT"),
        ("rule dropped", "DROP RULE kept ON shop.documents", "SCHEMA_DRIFT"),
        ("domain's check dropped", "ALTER DOMAIN shop.cents DROP CONSTRAINT cents_check", "SCHEMA_DRIFT"),
        ("collation dropped", "DROP COLLATION shop.plain", "SCHEMA_DRIFT"),
    ),
    *_unseen(
        ("fitting byte in visibility map", "a byte of a visibility map; the server makes the page anew when it reads it",
         fitting("visibility map", _flip_of(100))),
        ("fitting byte in free space map", "a byte of a free space map; the server makes the page anew when it reads it",
         fitting("free space map", _flip_of(100))),
        ("fitting files swapped", "two partitions hold each other's rows", _swap),
        ("default privileges added", "ALTER DEFAULT PRIVILEGES IN SCHEMA shop GRANT SELECT ON TABLES TO PUBLIC",
         sql("ALTER DEFAULT PRIVILEGES IN SCHEMA shop GRANT SELECT ON TABLES TO PUBLIC")),
        ("user mapping dropped", "DROP USER MAPPING FOR PUBLIC SERVER away", sql("DROP USER MAPPING FOR PUBLIC SERVER away")),
        ("column order changed", "a column is dropped and made again at the end",
         sql("ALTER TABLE shop.customers DROP COLUMN born; ALTER TABLE shop.customers ADD COLUMN born date")),
        ("database setting changed", "ALTER DATABASE postgres SET row_security = off",
         sql("ALTER DATABASE postgres SET row_security = off")),
    ),
)  # fmt: skip
