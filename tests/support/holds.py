"""Places in a drill's tasks where a test may stop or fail them, whichever process runs them.

A drill's DAG file in a test imports this module, so that it is there in every process that runs one of its tasks. At each place
a file is looked for, in the folder that ``DRILL_TEST_HOLDS`` names: none, and the task goes on as it would without this module.

The places, by the names of their files: ``<drill>.<rung>.<stage>.begin`` (the stage has only begun), ``….done`` (its work is
done, its checkpoint isn't written), ``<drill>.<rung>.provision.inside`` (the lease was looked at, nothing is made yet),
``<drill>.<rung>.route`` (the router is about to decide) and ``<drill>.<rung>.destroy`` (a sandbox is to be removed).

The file says what happens: ``hold`` waits until the file is gone, having said in ``<file>.reached`` which process waits;
``fail CODE`` fails once with that signature.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from airflow_dr_provider.domain.verdicts import StageName
from airflow_dr_provider.errors import SandboxError
from airflow_dr_provider.sandboxes.process import ProcessSandbox
from airflow_dr_provider.stages import perform
from airflow_dr_provider.stages.drill import Drill

VARIABLE = "DRILL_TEST_HOLDS"
LONGEST_SECONDS = 900.0


class Holds:
    """The test's side.

    :param folder: every process of the cluster is told of it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def set(self, place: str, what: str = "hold") -> None:
        new = self.folder / f"{place}.new"
        new.write_text(what)
        new.rename(self.folder / place)

    def reached(self, place: str) -> int:
        """The process that waits at a place; 0 when none does yet."""
        try:
            return int((self.folder / f"{place}.reached").read_text() or 0)
        except FileNotFoundError:
            return 0

    def let_go(self, place: str) -> None:
        (self.folder / place).unlink(missing_ok=True)

    def forget(self, place: str) -> None:
        """Let nobody believe that a process still waits there."""
        (self.folder / f"{place}.reached").unlink(missing_ok=True)

    @contextmanager
    def none_left(self) -> Iterator[None]:
        """Let everything go at the end."""
        try:
            yield
        finally:
            for file in self.folder.iterdir():
                file.unlink(missing_ok=True)


# -- the tasks' side ---------------------------------------------------------------------------------------------------
def _asked(place: str) -> tuple[Path, str] | None:
    folder = os.environ.get(VARIABLE)
    if not folder:
        return None
    file = Path(folder) / place
    try:
        return file, file.read_text()
    except FileNotFoundError:
        return None


def _fail(file: Path, what: str) -> None:
    words = what.split()
    if words[:1] == ["fail"]:
        file.unlink(missing_ok=True)
        raise SandboxError(f"the test wants {file.name} to fail", code=words[1])


def _say(file: Path) -> None:
    new = file.with_name(f"{file.name}.saying{os.getpid()}")
    new.write_text(str(os.getpid()))
    new.rename(file.with_name(f"{file.name}.reached"))


async def point(place: str) -> None:
    """A place in a stage."""
    asked = _asked(place)
    if asked is None:
        return
    file, what = asked
    _fail(file, what)
    _say(file)
    deadline = time.monotonic() + LONGEST_SECONDS
    while file.exists() and time.monotonic() < deadline:
        await asyncio.sleep(0.05)
    with suppress(FileNotFoundError):
        file.with_name(f"{file.name}.reached").unlink()


_stage_function = perform.stage_function
_provision = ProcessSandbox.provision
_destroy = ProcessSandbox.destroy
_next_step = Drill.next_step


def stage_function(stage: StageName) -> Any:
    real = _stage_function(stage)

    async def run(context: Any) -> Any:
        name = f"{context.spec.drill}.{context.rung.index}.{stage.value}"
        await point(f"{name}.begin")
        result = await real(context)
        await point(f"{name}.done")
        return result

    return run


def _name(handle: Any) -> str:
    drill, _, rung = handle.name.rsplit("-", 2)
    return f"{drill}.{rung}"


async def provision(self: Any, handle: Any, coordinate: Any) -> Any:
    await point(f"{_name(handle)}.provision.inside")
    return await _provision(self, handle, coordinate)


async def destroy(self: Any, handle: Any) -> Any:
    if _asked(f"{_name(handle)}.destroy") is not None:
        return (f"{Path(handle.place).name}, as the test wants it",)
    return await _destroy(self, handle)


def next_step(self: Any, rung: int) -> Any:
    asked = _asked(f"{self.run.drill}.{rung}.route")
    if asked is not None:
        _fail(*asked)
    return _next_step(self, rung)


if VARIABLE in os.environ:
    perform.stage_function = stage_function
    ProcessSandbox.provision = provision  # type: ignore[method-assign]
    ProcessSandbox.destroy = destroy  # type: ignore[method-assign]
    Drill.next_step = next_step  # type: ignore[method-assign]
