"""PostgreSQL's programs where the server's account can run them."""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path

from airflow_dr_provider.errors import ConfigurationError
from airflow_dr_provider.postgresql.account import Account, can_reach
from airflow_dr_provider.postgresql.programs import Programs
from airflow_dr_provider.sandboxes.isolation import Way
from airflow_dr_provider.sandboxes.place import Place


def usable(programs: Programs, place: Place, account: Account, way: Way) -> Programs:
    """The programs, or a copy of them in the sandbox when the account could not run them where they are.

    Bound into a root directory of the sandbox's own, only the files' permissions count, not those of the folders above.

    :raises ConfigurationError: when they can't be made usable.
    """
    server = programs.bin / "postgres"
    if can_reach(account, server) or (way is Way.ROOT and programs.trees and _open(programs)):
        return programs
    if not programs.trees:
        raise ConfigurationError(
            f"The account {account.name} can't run {server}. Make it readable for everybody, or name another account "
            "in sandbox.account."
        )
    copied = programs.copied_to(place.root / "programs")
    if not _open(copied):
        # Hard links carry the originals' permissions, which are not ours to change.
        shutil.rmtree(place.root / "programs")
        for tree in programs.trees:
            shutil.copytree(programs.root / tree, place.root / "programs" / tree, symlinks=True)
        _open_up(place.root / "programs")
    return copied


def shown(programs: Programs) -> tuple[Path, ...]:
    """The trees that an enclosed root has to show, beyond the system's own folders."""
    trees = (programs.root / tree for tree in programs.trees)
    return tuple(tree for tree in trees if not str(tree).startswith(("/usr/", "/bin/", "/lib", "/sbin/")))


def _open(programs: Programs) -> bool:
    """Whether anybody may run the server and read what lies beside it."""
    if (programs.bin / "postgres").stat().st_mode & 0o5 != 0o5:
        return False
    for tree in programs.trees:
        for folder, _, files in os.walk(programs.root / tree):
            if os.stat(folder).st_mode & 0o5 != 0o5:
                return False
            # One file stands for its folder: what differs is the umask under which all of them were unpacked.
            if files and not os.path.islink(file := os.path.join(folder, files[0])) and not os.stat(file).st_mode & 0o4:
                return False
    return True


def _open_up(tree: Path) -> None:
    for folder, _, files in os.walk(tree):
        os.chmod(folder, 0o755)  # noqa: S103 - programs, for another account to run  # noqa: S103 — programs, in a directory that goes with the sandbox
        for name in files:
            path = os.path.join(folder, name)
            if not os.path.islink(path):
                executable = os.stat(path).st_mode & stat.S_IXUSR
                os.chmod(path, 0o755 if executable else 0o644)
