"""``airflow-dr``: its sub-commands are loaded when they are called, so that it starts at once."""

from __future__ import annotations

import os
import sys
import traceback
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version

import click

from airflow_dr_provider.errors import DrillError

COMMANDS = {
    "run": ("airflow_dr_provider.cli.run:run", "Walk a drill's chain without Airflow."),
    "lint": ("airflow_dr_provider.cli.lint:lint", "Say what is wrong with specs."),
    "schema": ("airflow_dr_provider.cli.schema:schema", "Print the JSON Schema of a spec."),
    "reference": ("airflow_dr_provider.cli.reference:reference", "Capture what production looks like."),
    "runs": ("airflow_dr_provider.cli.show:runs", "List the latest runs."),
    "show": ("airflow_dr_provider.cli.show:show", "Show a run's record."),
    "reap": ("airflow_dr_provider.cli.reap:reap", "Remove what outlived its lease or its run."),
}


class LazyGroup(click.Group):
    """A group whose commands are modules that nobody imports before they are wanted."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Every name."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one."""
        if cmd_name not in COMMANDS:
            return None
        module, _, name = COMMANDS[cmd_name][0].partition(":")
        command: click.Command = getattr(import_module(module), name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list, from the registry alone."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


def _version() -> str:
    try:
        return version("airflow-dr-provider")
    except PackageNotFoundError:
        return "not installed"


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(_version(), prog_name="airflow-dr")
@click.option("--debug", is_flag=True, envvar="AIRFLOW_DR_DEBUG", help="Show the traceback of an unforeseen error.")
def cli(debug: bool) -> None:
    """Prove that backups can be restored."""
    if debug:
        os.environ["AIRFLOW_DR_DEBUG"] = "1"


def main() -> None:
    """The console script: errors are one sentence and an exit code, never a traceback."""
    try:
        cli(prog_name="airflow-dr")
    except DrillError as error:
        click.echo(f"airflow-dr: {error.message}", err=True)
        sys.exit(2)
    except BrokenPipeError:
        # Whoever read this has enough; nothing is to be flushed any more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except Exception as error:
        if os.environ.get("AIRFLOW_DR_DEBUG"):
            traceback.print_exc()
        click.echo(
            f"airflow-dr: unforeseen {type(error).__name__}: {error}. --debug shows the whole story.",
            err=True,
        )
        sys.exit(2)


if __name__ == "__main__":
    main()
