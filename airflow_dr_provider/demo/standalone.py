"""``make airflow``: the demonstration's scene in ``airflow standalone``, until Ctrl-C."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from pathlib import Path

from airflow_dr_provider.demo.cluster import airflow_environment, end_session, prepare_home
from airflow_dr_provider.demo.drill import place_dags, say
from airflow_dr_provider.demo.scene import make_scene, remains


def run_standalone(port: int) -> int:
    """Serve Airflow's page on 127.0.0.1 until a signal ends it; the exit code of ``airflow standalone``."""
    scene = make_scene(lambda line: say(f"  {line}"))
    home = scene.folder / "airflow"
    process: subprocess.Popen[bytes] | None = None
    try:
        prepare_home(home)
        place_dags(scene)
        environment = airflow_environment(home, scene.dags, port, scene.environment())
        with (home / "standalone.log").open("ab") as log:
            process = subprocess.Popen(
                ["airflow", "standalone"],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        say(f"  Airflow starts; its page will be http://127.0.0.1:{port} (no password, this machine only)")
        say("  Trigger the DAG `orders` there. Ctrl-C ends everything and removes it.")
        say(f"  log: {home}/standalone.log")
        with contextlib.suppress(KeyboardInterrupt):
            return process.wait()
        return 0
    finally:
        if process is not None:
            end_session(process)
        _end_all(scene.folder)
        scene.remove()


def _end_all(folder: Path) -> None:
    """Sandboxes of a drill that was under way: everything that still runs from the scene's folder, production left out."""
    for line in remains(folder):
        number, _, command = line.partition(" ")
        if "sandboxes" in command:
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(number), signal.SIGKILL)
