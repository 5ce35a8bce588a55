"""``airflow-dr``: its sub-commands are loaded when they are called, so that it starts at once."""

from __future__ import annotations

import gc
import os
import signal
import sys
import traceback
from collections.abc import Sequence
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version

import click

from airflow_dr_provider.cli.registry import COMMANDS

_DEBUG = "AIRFLOW_DR_DEBUG"


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
@click.option("--debug", is_flag=True, help=f"Show the traceback of an error; {_DEBUG}=1 does the same.")
def cli(debug: bool) -> None:
    """Prove that backups can be restored."""
    if debug:
        os.environ[_DEBUG] = "1"


def main(arguments: Sequence[str] | None = None, *, name: str = "airflow-dr") -> None:
    """The console script: errors are one sentence and an exit code, never a traceback.

    :param arguments: those of the process when left out.
    :param name: what help calls the program.
    """
    # What is imported stays; looking for garbage in it while it grows takes a tenth of the start.
    gc.set_threshold(50_000, 20, 20)
    try:
        code = cli.main(args=arguments, prog_name=name, standalone_mode=False)
        # A reader that is gone is noticed when the buffer is written, which is to happen here and not at the very end.
        sys.stdout.flush()
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except click.Abort:
        click.echo("airflow-dr: interrupted", err=True)
        sys.exit(128 + signal.SIGINT)
    except BrokenPipeError:
        # Whoever read this has enough; nothing is to be flushed any more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except Exception as error:
        sys.exit(_explain(error))
    sys.exit(code if isinstance(code, int) else 0)


def _explain(error: Exception) -> int:
    """Say what happened in one line; the exit code for it."""
    # Imported here because its values are pydantic's, which would more than double the time that --help takes.
    from airflow_dr_provider.errors import DrillError, RunInterruptedError

    if os.environ.get(_DEBUG, "").lower() in ("1", "true", "yes", "on"):
        traceback.print_exception(error)
    if isinstance(error, DrillError):
        click.echo(f"airflow-dr: {error.message}", err=True)
        return 128 + error.signal_number if isinstance(error, RunInterruptedError) else 2
    words = " ".join(str(error).split())
    click.echo(f"airflow-dr: unforeseen {type(error).__name__}: {words}. --debug shows the whole story.", err=True)
    return 2


if __name__ == "__main__":
    main()
