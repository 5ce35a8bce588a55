"""What holds for every test: an environment of nobody's, a temporary folder of its own, and nothing left at the end.

The controller makes one folder; every temporary file of the session, in every worker and every child, lies under it. That is
how the end of the session can tell what a test left running from what somebody else runs on this machine.

``AIRFLOW_DR_REQUIRE_POSTGRES=1``: a skipped test that needs PostgreSQL is a failure (``.ci/run`` sets it).
``AIRFLOW_DR_LOCK``: the lock file that is installed, when it isn't requirements.lock (``scripts/compat`` sets it).
``AIRFLOW_DR_KEEP=1``: the folder stays, for a look at what a failed test made.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

if "airflow" in sys.modules:
    raise RuntimeError("A pytest plugin imported Airflow before its home was set; run with `-p no:NAME`, or set AIRFLOW_HOME.")

_PLACE = "DRILL_TEST_PLACE"
_REQUIRE = os.environ.pop("AIRFLOW_DR_REQUIRE_POSTGRES", "") == "1"
_LOCK = os.environ.pop("AIRFLOW_DR_LOCK", "")
_KEEP = os.environ.pop("AIRFLOW_DR_KEEP", "") == "1"
_WORKER = os.environ.get("PYTEST_XDIST_WORKER", "main")


def _session_folder() -> Path:
    """The session's folder: the controller makes it, a worker is told. Short, for sockets' paths end at 107 bytes."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        return Path(os.environ[_PLACE])
    while True:
        folder = Path(tempfile.gettempdir()).resolve() / f"dr{secrets.token_hex(2)}"
        try:
            folder.mkdir()
        except FileExistsError:
            continue
        folder.chmod(0o1777)  # an unprivileged server enters it, and its clients make files there
        return folder


# How long an example takes says how busy the machine is, nothing of the code.
settings.register_profile("any_machine", deadline=None)
settings.load_profile("any_machine")

PLACE = _session_folder()


def _clean_environment() -> None:
    """Take out what a developer's shell may hold and a test must not see; point Airflow at a home of this worker's own."""
    for name in list(os.environ):
        if name.startswith(("AIRFLOW_DR_", "AIRFLOW__", "AIRFLOW_CONN_", "AIRFLOW_VAR_", "PG")) or name == "AIRFLOW_CONFIG":
            del os.environ[name]
    # A worker's environment is a copy of the controller's, made after this.
    os.environ[_PLACE] = str(PLACE)
    if _REQUIRE:
        os.environ["AIRFLOW_DR_REQUIRE_POSTGRES"] = "1"
    if _LOCK:
        os.environ["AIRFLOW_DR_LOCK"] = _LOCK
    os.environ["TMPDIR"] = str(PLACE)
    tempfile.tempdir = str(PLACE)
    home = PLACE / f"airflow-{_WORKER}"
    home.mkdir(exist_ok=True)
    os.environ["AIRFLOW_HOME"] = str(home)
    os.environ["AIRFLOW__CORE__LOAD_EXAMPLES"] = "False"
    os.environ["AIRFLOW__CORE__DAGS_FOLDER"] = str(home / "dags")


_clean_environment()


# -- fixtures ----------------------------------------------------------------------------------------------------------
@pytest.fixture
def place() -> Iterator[Path]:
    """A folder that the account ``postgres`` can enter, which pytest's ``tmp_path`` is not."""
    folder = Path(tempfile.mkdtemp(prefix="dr-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def airflow_database() -> Path:
    """Airflow's home, with its metadata database made: a SQLite file of this worker's own."""
    done = subprocess.run([sys.executable, "-m", "airflow", "db", "migrate"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return Path(os.environ["AIRFLOW_HOME"])


# -- what is run, and in which order -----------------------------------------------------------------------------------
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Fast tests first, so that a mistake shows early: plain ones, then PostgreSQL's, then Airflow's, then whole drills.

    Where several workers share the tests, one of them begins with those on a whole Airflow: there is one such a session, so
    that they take as long whoever helps.
    """

    def rank(item: pytest.Item) -> tuple[bool, bool, bool, bool]:
        shared = "PYTEST_XDIST_WORKER" in os.environ
        return (
            not (shared and "system" in item.path.parts),
            not {"scenarios", "integration", "system"}.isdisjoint(item.path.parts),
            item.get_closest_marker("airflow") is not None,
            item.get_closest_marker("postgres") is not None,
        )

    items.sort(key=rank)


# -- a skip that must not pass -----------------------------------------------------------------------------------------
@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Where PostgreSQL is required, a test that needs it and was skipped has failed."""
    report: pytest.TestReport = yield
    if _REQUIRE and report.skipped and not hasattr(report, "wasxfail") and item.get_closest_marker("postgres") is not None:
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} needs PostgreSQL and was skipped: {_reason(report.longrepr)}"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector: pytest.Collector) -> Iterator[None]:
    """The same for a module that skips itself whole, before its marks are known."""
    report: pytest.CollectReport = yield
    if _REQUIRE and report.skipped and collector.path.is_file() and "mark.postgres" in collector.path.read_text():
        report.outcome = "failed"
        report.longrepr = f"{collector.nodeid} has tests that need PostgreSQL and was skipped: {_reason(report.longrepr)}"
    return report


def _reason(longrepr: object) -> str:
    return str(longrepr[2]) if isinstance(longrepr, tuple) else str(longrepr)


# -- the end -----------------------------------------------------------------------------------------------------------
def _processes() -> dict[int, str]:
    """Processes of this machine that work in the session's folder, hold a log in it open, or were told a path in it.

    The log is how a server is known whose namespaces have another root: its working folder has no name out here.
    """
    found = {}
    inside = f"{PLACE}/"
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
            places = [os.readlink(entry / name) for name in ("cwd", "fd/1", "fd/2") if os.path.lexists(entry / name)]
        except OSError:
            continue  # it ended, or it belongs to another account, under which no test starts anything
        if int(entry.name) != os.getpid() and (inside in command or any(f"{place}/".startswith(inside) for place in places)):
            found[int(entry.name)] = f"{command or '?'} ({', '.join(dict.fromkeys(places))})"
    return found


def _mounts() -> list[str]:
    inside = f"{PLACE}/"
    lines = Path("/proc/self/mounts").read_text().splitlines() if Path("/proc/self/mounts").exists() else []
    return [point for point in (line.split()[1] for line in lines) if point.startswith(inside)]


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail a session whose tests left a process or a mount; end what they left, and remove the folder."""
    if hasattr(session.config, "workerinput"):
        return
    deadline = time.monotonic() + 3  # a server that was told to stop may still be on its way out
    while _processes() and time.monotonic() < deadline:
        time.sleep(0.05)
    left = [f"process {number}: {command}" for number, command in _processes().items()]
    left += [f"mount: {point}" for point in _mounts()]
    session.config.stash[_LEFT] = left
    for number in _processes():
        with contextlib.suppress(ProcessLookupError):
            os.kill(number, signal.SIGKILL)
    if left and session.exitstatus == 0:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
    if not _KEEP and not _mounts():
        shutil.rmtree(PLACE, ignore_errors=True)


_LEFT = pytest.StashKey[list[str]]()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say what was left, above the closing line."""
    left = config.stash.get(_LEFT, [])
    if left:
        terminalreporter.section("left behind by the tests", red=True)
        for line in left:
            terminalreporter.write_line(line)
    if _KEEP:
        terminalreporter.write_line(f"kept: {PLACE}")
