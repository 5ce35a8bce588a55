"""``python -m airflow_dr_provider.demo drill|airflow``."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import click


@click.group()
def demo() -> None:
    """A production of its own, backed up, damaged, and drilled."""
    # A request to end becomes an exception, so that every block on the way out cleans up.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda received, frame: sys.exit(128 + received))


@demo.command()
@click.option("--record", type=click.Path(path_type=Path), default=Path(".drill/record.json"), show_default=True)
def drill(record: Path) -> None:
    """Run the shipped DAG on a real Airflow, from the first backup to the record."""
    from airflow_dr_provider.demo.drill import run_drill_demo

    sys.exit(run_drill_demo(record))


@demo.command()
@click.option("--port", type=int, default=8080, show_default=True, help="Where Airflow's page is served, on 127.0.0.1.")
def airflow(port: int) -> None:
    """The same scene in `airflow standalone`, with its web page, until Ctrl-C."""
    from airflow_dr_provider.demo.standalone import run_standalone

    sys.exit(run_standalone(port))


if __name__ == "__main__":
    demo()
