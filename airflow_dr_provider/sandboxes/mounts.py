"""Mounts in sight that lie in a sandbox's directory; the server's own are in namespaces that end with its processes."""

from __future__ import annotations

import subprocess
from pathlib import Path


def within(root: Path) -> list[str]:
    """The mount points, inner ones last."""
    points = (line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines())
    return [point for point in points if point == str(root) or point.startswith(f"{root}/")]


def unmount(root: Path) -> None:
    """Unmount what lies in a sandbox's own directory, the inner ones first; what can't be is found by :func:`within`."""
    for point in reversed(within(root)):
        subprocess.run(("umount", point), capture_output=True, check=False)
