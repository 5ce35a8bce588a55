"""One production a version and session; a work folder and an adapter a test."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from airflow_dr_provider.sandboxes.process import ProcessSandbox
from airflow_dr_provider.sandboxes.processes import ENVIRONMENT
from tests.integration.sandboxes.scene import Scene, Settings, make, new_folder, remove


@pytest.fixture(scope="session")
def scenes() -> Iterator[Callable[[int], Scene]]:
    """Productions by major version, made when first asked for."""
    made: dict[int, Scene] = {}

    def scene(major: int) -> Scene:
        if major not in made:
            made[major] = make(new_folder("dr-scene-"), major)
        return made[major]

    yield scene
    for known in made.values():
        known.production.close()
        remove(known.folder)


@pytest.fixture
def scene(scenes: Callable[[int], Scene]) -> Scene:
    """PostgreSQL 18's."""
    return scenes(18)


@pytest.fixture
def workdir() -> Iterator[Path]:
    """A work folder that doesn't exist yet; after the test it doesn't exist any more, and no process of it does."""
    parent = new_folder("dr-work-")
    yield parent / "work"
    unclean = [path.name for path in (parent / "work").glob("[!.]*")]
    for name in unclean:
        adapter = ProcessSandbox(Settings(), workdir=parent / "work")
        asyncio.run(adapter.destroy(adapter.handle(name)))
    left = list(parent.rglob("*"))
    running = [
        path.parent.name for path in Path("/proc").glob("[0-9]*/environ") if f"{ENVIRONMENT}={parent}".encode() in environ(path)
    ]
    remove(parent)
    assert unclean + left == []
    assert running == []


def environ(path: Path) -> bytes:
    """A process's environment; nothing when it has ended."""
    try:
        return path.read_bytes()
    except OSError:
        return b""


@pytest.fixture
def sandbox(workdir: Path) -> ProcessSandbox:
    """An adapter that requires isolation."""
    return ProcessSandbox(Settings(), workdir=workdir)
