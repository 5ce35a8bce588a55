"""The shape of a production and of its repository, drawn from a seed; every value of every dimension comes up."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tests.scenarios.shapes.features import FEATURES

_LOCALES = (("UTF8", "C"), ("UTF8", "C.UTF-8"), ("UTF8", "C"), ("LATIN1", "C"), ("SQL_ASCII", "C"))
_EXTENSIONS = (
    "hstore", "ltree", "pg_trgm", "btree_gist", "btree_gin", "citext", "cube", "intarray", "isn", "lo", "pgcrypto", "seg",
    "tablefunc", "unaccent", "uuid-ossp", "vector", "bloom", "pg_stat_statements", "postgres_fdw", "file_fdw", "dblink", "amcheck",
    "pageinspect", "pg_prewarm", "pg_visibility", "pg_walinspect", "fuzzystrmatch", "pgstattuple", "tcn", "dict_int",
    "tsm_system_rows", "pg_buffercache", "earthdistance", "moddatetime", "refint", "xml2",
)  # fmt: skip
"""Asked for; those that the installation has are made."""
_PLAIN = ("-Fp",)
_KINDS: dict[int, tuple[tuple[str, ...], ...]] = {
    15: (_PLAIN, ("-Ft",), ("-Ft", "-z"), ("-Ft", "--compress=server-gzip:1"), ("-Fp", "-X", "fetch"), ("-Ft", "-X", "fetch")),
    17: (
        _PLAIN, ("-Ft",), ("-Ft", "--compress=client-zstd:1"), ("-Ft", "--compress=client-lz4"), ("-Ft", "--compress=server-zstd"),
        ("-Fp", "-X", "fetch"), ("-Fp", "--compress=server-lz4"),
    ),
    18: (_PLAIN, ("-Ft",), ("-Ft", "-z"), ("-Fp", "-X", "fetch"), ("-Ft", "-X", "fetch"), ("-Fp", "--compress=server-gzip")),
}  # fmt: skip
_SUMS = ("CRC32C", "SHA224", "SHA256", "SHA384", "SHA512")


@dataclass(frozen=True)
class Shape:
    """One production and how it is backed up.

    :param tool: ``basebackup`` or ``pgbackrest``.
    :param incremental: whether the backups after the first build on the one before.
    :param backups: options of each backup, in order.
    :param promotions: after which rounds of work the production is another timeline's; a negative one crashes it before.
    :param busy: ``""``, ``backups`` (only while they are taken) or ``always`` (even while the drills compare with it).
    :param account: who reads production's reference: ``""`` for nobody, ``superuser``, ``reader``, or ``stranger``, who may
        read next to nothing.
    """

    number: int
    major: int
    tool: str
    checksums: bool
    segment_mb: int
    encoding: str
    locale: str
    features: tuple[str, ...]
    extensions: tuple[str, ...]
    tablespace: bool
    incremental: bool
    backups: tuple[tuple[str, ...], ...]
    sums: str
    archive: str
    promotions: tuple[int, ...]
    busy: str
    account: str
    settings: tuple[tuple[str, str], ...]
    group_access: bool

    @property
    def label(self) -> str:
        """The shape in a line."""
        parts = [
            f"PostgreSQL {self.major}", self.tool, f"{self.encoding}/{self.locale}", f"{self.segment_mb} MB segments",
            "checksums" if self.checksums else "no checksums",
            "incremental" if self.incremental else " ".join(sorted({"".join(kind[:2]) for kind in self.backups})),
            *(["tablespace"] if self.tablespace else []), *([f"archive{self.archive}"] if self.archive else []),
            *([f"{len(self.promotions)} promotions"] if self.promotions else []),
            *([f"busy: {self.busy}"] if self.busy else []), *([f"reference by {self.account}"] if self.account else []),
        ]  # fmt: skip
        return f"{', '.join(parts)}; {', '.join(self.features)}; {len(self.extensions)} extensions"


class _Deck:
    """Draws every value once before any comes again, so that a run of few shapes still sees them all."""

    def __init__(self, chance: random.Random, values: Sequence[Any]) -> None:
        self._chance, self._values, self._left = chance, list(values), []

    def draw(self) -> Any:
        """The next one."""
        if not self._left:
            self._left = list(self._values)
            self._chance.shuffle(self._left)
        return self._left.pop()


def shapes(seed: int, count: int, majors: Sequence[int], *, pgbackrest: bool) -> list[Shape]:
    """Draw shapes.

    :param majors: the versions that are installed here.
    :param pgbackrest: whether that is; its Debian build knows PostgreSQL 15 and older.
    """
    chance = random.Random(seed)
    decks = {name: _Deck(chance, values) for name, values in {
        "major": majors, "checksums": (True, True, False), "segment": (1, 1, 1, 2, 16, 64), "locale": _LOCALES,
        "tablespace": (True, False, False), "incremental": (True, False), "sums": _SUMS, "archive": ("", "", "", ".gz", ".zst"),
        "busy": ("", "backups", "always"), "account": ("superuser", "reader", "", "stranger"), "group": (False, False, True),
        "promotions": ((), (), (1,), (-1,), (1, 2)), "tool": ("basebackup", "pgbackrest"), "summer": range(1),
        "feature": tuple(FEATURES),
    }.items()}  # fmt: skip
    kinds = {major: _Deck(chance, _KINDS[major]) for major in majors}
    made = []
    for number in range(count):
        major = decks["major"].draw()
        tool = decks["tool"].draw() if major == 15 and pgbackrest else "basebackup"
        encoding, locale = decks["locale"].draw()
        wanted: dict[str, None] = {}
        for _ in range(chance.randint(5, 10)):
            wanted[decks["feature"].draw()] = None
        features = [name for name in wanted if FEATURES[name].since <= major <= FEATURES[name].until]
        if encoding != "UTF8":
            # Their names or locales exist in UTF8 only.
            features = [
                name for name in features if name not in ("odd names", "icu", "builtin locale", "collations", "databases")
            ]
        incremental = major >= 17 and decks["incremental"].draw()
        settings = dict(setting for name in features for setting in FEATURES[name].settings)
        settings |= dict(chance.sample(
            (("wal_compression", "on"), ("track_commit_timestamp", "on"), ("max_connections", "17"), ("wal_log_hints", "on"),
             ("checkpoint_timeout", "30s"), ("autovacuum_naptime", "1s"), ("full_page_writes", "on"), ("max_wal_size", "128MB"),
             ("max_locks_per_transaction", "99"), ("timezone", "Asia/Kathmandu"),
             ("datestyle", "SQL, DMY"), ("bytea_output", "escape"), ("standard_conforming_strings", "on"), ("jit", "off")), 4,
        ))  # fmt: skip
        made.append(Shape(
            number=number, major=major, tool=tool, checksums=decks["checksums"].draw(), segment_mb=decks["segment"].draw(),
            encoding=encoding, locale=locale, features=tuple(features),
            extensions=tuple(chance.sample(_EXTENSIONS, chance.randint(0, 6))),
            tablespace=decks["tablespace"].draw(), incremental=incremental,
            backups=tuple(_PLAIN if incremental and chance.random() < 0.7 else kinds[major].draw() for _ in range(3)),
            sums=decks["sums"].draw(), archive=decks["archive"].draw() if tool == "basebackup" else "",
            promotions=decks["promotions"].draw(), busy=decks["busy"].draw(), account=decks["account"].draw(),
            settings=tuple(sorted(settings.items())), group_access=decks["group"].draw(),
        ))  # fmt: skip
    return made
