"""``airflow dr …``: the same commands in Airflow's own command line (provider info, ``cli``), where Airflow has that (3.2).

Every ``airflow …`` imports this module when it starts, so it imports nothing but the list of names; what a command needs is
imported when it is called.
"""

from __future__ import annotations

import argparse
import os
from typing import Any

from airflow.cli.cli_config import ActionCommand, Arg, GroupCommand, lazy_load_command

from airflow_dr_provider.cli.registry import COMMANDS


class _Everything(Arg):
    """All further words, options and ``--help`` included, as the command itself is to read them."""

    def add_to_parser(self, parser: argparse.ArgumentParser) -> None:
        """Add it, and let the parser take no word for an option of its own."""
        super().add_to_parser(parser)
        parser.prefix_chars = "\0"


def get_dr_commands() -> list[GroupCommand]:
    """The group ``dr``, as Airflow asks for it."""
    further = _Everything(flags=("words",), nargs="*", help="What the command takes; --help tells.", metavar="ARGUMENT")  # type: ignore[no-untyped-call]
    commands = tuple(
        ActionCommand(
            name=name,
            help=text,
            func=lazy_load_command(f"{__name__}.forward"),
            args=(further,),
            epilog=f"See airflow-dr {name}",
        )
        for name, (_, text) in COMMANDS.items()
    )
    return [GroupCommand(name="dr", help="Prove that backups can be restored", subcommands=commands)]


def forward(arguments: Any) -> None:
    """Run one command, on the state store, the work folder and the connections that this Airflow's tasks use."""
    from airflow_dr_provider.cli.main import main
    from airflow_dr_provider.cli.services import WORKDIR, use_connections
    from airflow_dr_provider.hooks.connections import airflow_connection
    from airflow_dr_provider.hooks.drill import STATE, DrillHook

    if "-h" not in arguments.words and "--help" not in arguments.words:
        hook = DrillHook()
        os.environ.setdefault(STATE, hook.state_url())
        os.environ.setdefault(WORKDIR, str(hook.work_folder()))
    use_connections(airflow_connection)
    main([arguments.subcommand, *arguments.words], name="airflow dr")
