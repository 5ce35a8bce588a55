"""A sandbox's directory: where it lies, what lies in it, who owns which part.

::

    <workdir>/<name>/           ours, 0711
      .airflow-dr-sandbox       the marker, without which nothing here is ever deleted
      notes.json                what is known of the sandbox, for the next process
      credentials.json          0600
      log                       the server's log; the server only holds it open
      server.lock               held by the server for as long as it lives
      conf/                     the server's configuration; the account may read it
      data/ data.tablespaces/ wal/ run/ extra/      the account's
      programs/                 PostgreSQL, where the account can't reach the installed one

The server, which runs what a backup brought along, owns nothing that this package writes or reads by name as root.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import shutil
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from airflow_dr_provider.errors import ConfigurationError, SandboxError
from airflow_dr_provider.postgresql.account import Account

MARKER = ".airflow-dr-sandbox"
WORKDIR_MARKER = ".airflow-dr-workdir"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_ACCOUNTS = ("data", "data.tablespaces", "wal", "run", "extra")


@dataclass(frozen=True)
class Place:
    """The directory of one sandbox.

    :param workdir: absolute.
    """

    workdir: Path
    name: str

    @classmethod
    def of(cls, workdir: Path, name: str) -> Place:
        """The place of a name.

        :raises ConfigurationError: ``WORKDIR_UNUSABLE`` when the name could lead out of the work folder.
        """
        if not is_name(name):
            raise ConfigurationError(
                f"{name!r} can't be the name of a sandbox: use letters, digits, dots, dashes and underscores.",
                code="WORKDIR_UNUSABLE",
            )
        return cls(Path(os.path.abspath(workdir)), name)

    @property
    def root(self) -> Path:
        """The sandbox's own directory."""
        return self.workdir / self.name

    @property
    def data(self) -> Path:
        """The cluster's files."""
        return self.root / "data"

    @property
    def tablespaces(self) -> Path:
        """The tablespaces' files, one folder each."""
        return self.root / "data.tablespaces"

    @property
    def wal(self) -> Path:
        """The fetched WAL."""
        return self.root / "wal"

    @property
    def run(self) -> Path:
        """The server's socket."""
        return self.root / "run"

    @property
    def conf(self) -> Path:
        """The server's configuration."""
        return self.root / "conf"

    @property
    def log(self) -> Path:
        """The server's log."""
        return self.root / "log"

    @property
    def lock(self) -> Path:
        """The file that a living server holds locked."""
        return self.root / "server.lock"

    @property
    def credentials(self) -> Path:
        """The file of the sandbox's own passwords."""
        return self.root / "credentials.json"

    @property
    def exists(self) -> bool:
        """Whether something of that name is there."""
        return os.path.lexists(self.root)

    @property
    def ours(self) -> bool:
        """Whether it is a sandbox: a real directory that carries the marker."""
        try:
            found = stat.S_ISDIR(self.root.lstat().st_mode) and (self.root / MARKER).read_text().split() == [
                "sandbox",
                self.name,
            ]
        except OSError:
            return False
        return found

    # -- notes ---------------------------------------------------------------------------------------------------------
    def notes(self) -> dict[str, Any]:
        """What earlier steps wrote down; empty when nothing is there."""
        try:
            kept: dict[str, Any] = json.loads((self.root / "notes.json").read_text())
        except FileNotFoundError:
            return {}
        return kept

    def note(self, **facts: Any) -> dict[str, Any]:
        """Write facts beside the ones that are there; all of them."""
        notes = {**self.notes(), **facts}
        write(self.root / "notes.json", json.dumps(notes, indent=1), 0o600)
        return notes

    # -- life ----------------------------------------------------------------------------------------------------------
    def make(self, account: Account) -> None:
        """Make the directory and its parts, and the work folder where it is missing.

        :raises ConfigurationError: ``WORKDIR_UNUSABLE`` when that can't be, or when something else lies there.
        """
        try:
            self._make_root()
            for name in ("conf", "root"):
                (self.root / name).mkdir(exist_ok=True)
            os.chown(self.conf, -1, account.gid)
            self.conf.chmod(0o750)
            for name in _ACCOUNTS:
                (self.root / name).mkdir(mode=0o700, exist_ok=True)
                account.own(self.root / name)
        except OSError as error:
            if error.errno == errno.ENOSPC:
                raise SandboxError(f"{self.workdir}: the disk is full.", code="DISK_FULL") from error
            raise unusable(self.workdir, error) from error

    def _make_root(self) -> None:
        for _ in range(5):
            self._make_workdir()
            try:
                self.root.mkdir(mode=0o711)
            except FileExistsError:
                break
            except FileNotFoundError:
                # Another sandbox's end removed the work folder that we both use, between our two steps.
                continue
            (self.root / MARKER).write_text(f"sandbox {self.name}\n")
            return
        if self.ours and self.root.stat().st_uid == os.geteuid():
            return
        with contextlib.suppress(OSError):
            # An earlier try that was killed between two system calls left an empty directory.
            self.root.rmdir()
            self.root.mkdir(mode=0o711)
            (self.root / MARKER).write_text(f"sandbox {self.name}\n")
            return
        raise ConfigurationError(
            f"{self.root} is there and is no sandbox of this account's drills. Look at it, move it away, or choose another "
            "work folder.",
            code="WORKDIR_UNUSABLE",
        )

    def _make_workdir(self) -> None:
        missing = []
        folder = self.workdir
        while not folder.exists():
            missing.append(folder)
            folder = folder.parent
        if not missing:
            return
        for place in reversed(missing):
            place.mkdir(mode=0o755, exist_ok=True)
        (self.workdir / WORKDIR_MARKER).write_text("".join(f"{place}\n" for place in missing))

    @property
    def workdir_made(self) -> bool:
        """Whether the work folder was made for sandboxes, so that it goes with the last of them."""
        return (self.workdir / WORKDIR_MARKER).is_file()

    def remove(self) -> None:
        """Remove the directory with all that is in it, and the work folder if it was made for sandboxes and is empty now.

        :raises OSError: for the first thing that can't be removed.
        """
        if self.exists:
            # The marker goes last: cut off before that, what is left can still be told to be ours.
            for name in sorted(os.listdir(self.root), key=lambda name: name == MARKER):
                _remove(self.root / name)
            self.root.rmdir()
        self._remove_workdir()

    def _remove_workdir(self) -> None:
        marker = self.workdir / WORKDIR_MARKER
        try:
            if os.listdir(self.workdir) != [WORKDIR_MARKER]:
                return
            made = marker.read_text()
            marker.unlink()
        except OSError:
            return  # another sandbox's end did it, or it isn't ours to remove
        for line in made.splitlines():
            try:
                os.rmdir(line)
            except OSError:
                if Path(line) == self.workdir:
                    with contextlib.suppress(OSError):  # a sandbox was made in it meanwhile
                        marker.write_text(made)
                return


def is_name(name: str) -> bool:
    """Whether a sandbox can have that name."""
    return _NAME.fullmatch(name) is not None


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, onerror=_force)
    else:
        path.unlink(missing_ok=True)


def _force(function: Any, path: str, error: Any) -> None:
    """Try once more what rmtree could not do: a folder of the server's may lack write permission for its own owner."""
    if isinstance(error[1], FileNotFoundError):
        return
    parent = os.path.dirname(path)
    for folder in (parent, path):
        with contextlib.suppress(OSError):
            if stat.S_ISDIR(os.lstat(folder).st_mode):
                os.chmod(folder, 0o700)
    if function in (os.rmdir, os.unlink):
        function(path)
    else:
        shutil.rmtree(path)


def unusable(workdir: Path, error: OSError) -> ConfigurationError:
    """The error for a work folder in which nothing can be made."""
    return ConfigurationError(
        f"Sandboxes can't be made in {workdir}: {error.strerror} ({error.filename}). "
        "Name a folder that this account can write to with --workdir or AIRFLOW_DR_WORKDIR.",
        code="WORKDIR_UNUSABLE",
    )


def write(path: Path, text: str, mode: int, *, group: int = -1) -> None:
    """Write a file so that it is either the old or the new one, never half of it, and never readable beyond *mode*."""
    new = path.with_name(f"{path.name}.new")
    with contextlib.suppress(FileNotFoundError):
        new.unlink()
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        os.fchown(descriptor, -1, group)
        os.fchmod(descriptor, mode)
    new.rename(path)
