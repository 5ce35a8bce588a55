"""Namespaces around a server: what this machine allows, and the commands that make and enter them.

Only util-linux is used (unshare(1), setpriv(1), nsenter(1), mount(8)), which every Debian has. There are four ways, tried
from the strongest, by running the real thing with a program that does nothing:

- *root*: namespaces made by root, a root directory of its own, then the unprivileged account without capabilities.
- *user*: the same inside a user namespace, for a process that isn't root or a root that may not mount.
- *root-bare*, *user-bare*: network, processes and IPC only, where mounting is forbidden. The host's files, and with them
  its Unix sockets, stay in sight.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from airflow_dr_provider.postgresql.account import Account
from airflow_dr_provider.postgresql.command import run
from airflow_dr_provider.sandboxes.place import Place
from airflow_dr_provider.sandboxes.processes import ENVIRONMENT, Running

TOOLS = ("unshare", "setpriv", "nsenter", "mount", "umount", "pivot_root")
_SCRIPT = Path(__file__).with_name("enclose.sh")
_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
_BARE = ("--net", "--pid", "--ipc", "--uts", "--fork", "--kill-child")


class Way(StrEnum):
    """How a server is enclosed."""

    ROOT = "root"
    USER = "user"
    ROOT_BARE = "root-bare"
    USER_BARE = "user-bare"
    NONE = "none"

    @property
    def has_user(self) -> bool:
        """Whether a user namespace is part of it."""
        return self in (Way.USER, Way.USER_BARE)

    @property
    def has_mount(self) -> bool:
        """Whether it has a root directory of its own."""
        return self in (Way.ROOT, Way.USER)

    @property
    def reached(self) -> tuple[str, ...]:
        """What holds, in the words of :class:`~airflow_dr_provider.domain.reports.IsolationReport`."""
        if self is Way.NONE:
            return ()
        return ("network", *(("mount",) if self.has_mount else ()), "pid", "ipc", *(("user",) if self.has_user else ()))


@dataclass(frozen=True, kw_only=True)
class Enclosure:
    """One sandbox's namespaces.

    :param shown: trees of the host that have to be seen inside at the same path: PostgreSQL's programs outside of /usr.
    :param held: paths that have to exist inside, each with the sandbox's folder that is to lie there.
    """

    way: Way
    place: Place
    account: Account
    shown: tuple[Path, ...] = ()
    held: tuple[tuple[str, str], ...] = ()

    @property
    def environment(self) -> dict[str, str]:
        """Variables that mark every process as this sandbox's."""
        return {ENVIRONMENT: str(self.place.root), "PATH": _PATH}

    @property
    def _drop(self) -> tuple[str, ...]:
        """Give up root for the account, and every way back."""
        if self.account.ours:
            return ("setpriv", "--no-new-privs")
        identity = (f"--reuid={self.account.uid}", f"--regid={self.account.gid}", "--clear-groups")
        return ("setpriv", *identity, "--no-new-privs", "--inh-caps=-all", "--bounding-set=-all")

    @property
    def _become(self) -> tuple[str, ...]:
        """From the namespaces' root to the account."""
        if self.way.has_user:
            identity = (f"--map-user={self.account.uid}", f"--map-group={self.account.gid}")
            return ("unshare", "--user", *identity, "setpriv", "--no-new-privs")
        return self._drop

    @property
    def _first(self) -> tuple[str, ...]:
        """For a user namespace root becomes the account at once: it is the account that owns what it makes."""
        if self.way.has_user and not self.account.ours:
            return ("setpriv", f"--reuid={self.account.uid}", f"--regid={self.account.gid}", "--clear-groups")
        return ()

    def around(self, command: Sequence[str]) -> tuple[str, ...]:
        """The command that runs *command* enclosed, as the account, in the data directory."""
        if self.way is Way.NONE:
            return (*(() if self.account.ours else self._drop), *command)
        user = ("--user", "--map-root-user") if self.way.has_user else ()
        if not self.way.has_mount:
            return (*self._first, "unshare", *user, *_BARE, *self._become, *command)
        show = (word for tree in self.shown for word in ("--show", str(tree)))
        hold = (word for folder, path in self.held for word in ("--hold", folder, path))
        script = ("/bin/sh", str(self.place.conf / "enclose.sh"), str(self.place.root / "root"), str(self.place.root))
        return (*self._first, "unshare", *user, "--mount", *_BARE, *script, *show, *hold, "--", *self._become, *command)

    def beside(self, server: Running, wrapper: Running | None, command: Sequence[str]) -> tuple[str, ...]:
        """The command that runs *command* where that server is, under the same account.

        :param server: the postmaster.
        :param wrapper: its ``unshare``, which stayed in the user namespace that owns all the others.
        """
        if self.way is Way.NONE:
            return (*(() if self.account.ours else self._drop), *command)
        if not self.way.has_user:
            mount = ("--mount", "--root", "--wd") if self.way.has_mount else ()
            return ("nsenter", f"--target={server.pid}", "--net", "--pid", "--ipc", "--uts", *mount, *self._drop, *command)
        if wrapper is None:
            raise ProcessLookupError("the process that holds the sandbox's user namespace has ended")
        mount = ("--mount", "--root", "--wd") if self.way.has_mount else ()
        processes = f"--pid=/proc/{wrapper.pid}/ns/pid_for_children"
        spaces = ("--user", "--preserve-credentials", "--net", processes, "--ipc", "--uts")
        return (*self._first, "nsenter", f"--target={wrapper.pid}", *spaces, *mount, *self._become, *command)


def furnish(place: Place, account: Account) -> None:
    """Write what an enclosed root needs into the sandbox's ``conf``: the script, and an /etc of its own.

    Its hosts file knows only itself and its resolver no server: names of the outside mean nothing inside.
    """
    (place.conf / "etc").mkdir(mode=0o755, exist_ok=True)
    (place.conf / "etc").chmod(0o755)
    shutil.copyfile(_SCRIPT, place.conf / "enclose.sh")
    (place.conf / "enclose.sh").chmod(0o644)
    files = {
        "passwd": f"root:x:0:0::/:/usr/sbin/nologin\n{account.name}:x:{account.uid}:{account.gid}::/:/usr/sbin/nologin\n",
        "group": f"root:x:0:\n{account.name}:x:{account.gid}:\n",
        "hosts": "127.0.0.1 localhost\n::1 localhost\n",
        "resolv.conf": "",
        "nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
    }
    for name, text in files.items():
        (place.conf / "etc" / name).write_text(text)
        (place.conf / "etc" / name).chmod(0o644)


async def strongest(place: Place, account: Account, *, root: bool, environment: Mapping[str, str]) -> tuple[Way, str]:
    """The strongest way that works here, found by trying.

    :param root: whether this process is root.
    :param environment: what marks a process as the sandbox's.
    :return: the way, and why the stronger ones are out of reach; "" when none is.
    """
    missing = [tool for tool in TOOLS if shutil.which(tool, path=_PATH) is None]
    if missing:
        return Way.NONE, f"{', '.join(missing)} of util-linux is not installed"
    ways = (Way.ROOT, Way.USER, Way.ROOT_BARE, Way.USER_BARE) if root else (Way.USER, Way.USER_BARE)
    reasons: list[str] = []
    for way in ways:
        command = Enclosure(way=way, place=place, account=account).around(("/bin/true",))
        try:
            done = await run(command, extra=environment, cwd=place.data if not way.has_mount and root else None, timeout=20)
        except TimeoutError:
            reasons.append(f"{way}: no answer in 20 s")
            continue
        if done.code == 0:
            return way, "" if way.has_mount else "; ".join(reasons)
        reasons.append(f"{way}: {done.last_words or f'exit code {done.code}'}")
    return Way.NONE, "; ".join(reasons)
