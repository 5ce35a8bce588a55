"""The account under which PostgreSQL runs: never root, which the server itself refuses."""

from __future__ import annotations

import os
import pwd
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from airflow_dr_provider.errors import ConfigurationError

ENVIRONMENT = "AIRFLOW_DR_ACCOUNT"
_CANDIDATES = ("postgres", "nobody")


@dataclass(frozen=True, kw_only=True)
class Account:
    """An entry of the password database: ``initdb`` looks its user up there and refuses one without."""

    name: str
    uid: int
    gid: int

    @property
    def ours(self) -> bool:
        """Whether this process runs under it already."""
        return self.uid == os.geteuid()

    @property
    def as_subprocess(self) -> dict[str, Any]:
        """Keyword arguments that make :mod:`subprocess` and :mod:`asyncio` start a program under it."""
        return {} if self.ours else {"user": self.uid, "group": self.gid, "extra_groups": []}

    def own(self, path: Path) -> None:
        """Give it one file or folder."""
        if not self.ours:
            os.chown(path, self.uid, self.gid, follow_symlinks=False)

    def own_tree(self, path: Path) -> None:
        """Give it a folder and everything in it."""
        if self.ours:
            return
        self.own(path)
        for folder, folders, files in os.walk(path):
            for name in (*folders, *files):
                os.chown(os.path.join(folder, name), self.uid, self.gid, follow_symlinks=False)


def unprivileged_account(told: str | None = None) -> Account:
    """The account for a server: the current one, or, for root, the told one, the environment's, ``postgres`` or ``nobody``.

    :raises ConfigurationError: when a named account doesn't exist or is root.
    """
    if os.geteuid() != 0:
        # An account inside a user namespace may have no entry of its own; the number is enough for everything here.
        try:
            name = pwd.getpwuid(os.geteuid()).pw_name
        except KeyError:
            name = str(os.geteuid())
        return Account(name=name, uid=os.geteuid(), gid=os.getegid())
    named = told or os.environ.get(ENVIRONMENT)
    for name in (named,) if named else _CANDIDATES:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        if entry.pw_uid == 0:
            break
        return Account(name=entry.pw_name, uid=entry.pw_uid, gid=entry.pw_gid)
    raise ConfigurationError(
        f"PostgreSQL can't run as root, and the account {named or ' or '.join(_CANDIDATES)} can't be used. "
        f"Create an unprivileged account and name it in {ENVIRONMENT} or in the tier's sandbox.account."
    )


def can_reach(account: Account, path: Path) -> bool:
    """Whether the account may read *path*, judged by the permission bits of it and of every folder above it."""
    if account.ours:
        return os.access(path, os.R_OK | (os.X_OK if path.is_dir() else 0))
    for place in (path, *path.parents):
        status = place.stat()
        shift = 6 if status.st_uid == account.uid else 3 if status.st_gid == account.gid else 0
        needed = 0o5 if place.is_dir() and place == path else 0o1 if place.is_dir() else 0o4
        if (status.st_mode >> shift) & needed != needed:
            return False
    return True
