"""Attempts to get out of a sandbox, made from inside it. A sandbox is isolated when all of them fail."""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path
from typing import Any

from airflow_dr_provider.domain.reports import Probe, ProbeResult
from airflow_dr_provider.postgresql.command import run
from airflow_dr_provider.postgresql.programs import Programs
from airflow_dr_provider.sandboxes.isolation import Enclosure
from airflow_dr_provider.sandboxes.processes import Running

_DEFAULT_PORT = 5432
_TIMEOUT = 3
_HOST = re.compile(r"[A-Za-z0-9_.:%-]+")


async def attempt(
    enclosure: Enclosure, programs: Programs, server: Running, wrapper: Running | None, probe: Probe
) -> ProbeResult:
    """Try one address from where the server is, as the account that it runs under.

    A port or a socket's folder is asked with ``pg_isready`` (exit codes 0 accepting, 1 rejecting: reached; 2: no answer); a
    name without a port is looked up.
    """
    command, answers = _command(programs, probe)
    if not command:
        return ProbeResult(label=probe.label, reached=None, detail=f"{probe.address!r} is no address that can be tried")
    if not programs.has("pg_isready") and "getent" not in command[0]:
        return ProbeResult(label=probe.label, reached=None, detail="pg_isready is not among PostgreSQL's programs here")
    try:
        inside = enclosure.beside(server, wrapper, ("/usr/bin/env", "sh", "-c", 'echo inside; exec "$@"', "sh", *command))
        done = await run(inside, extra=enclosure.environment, timeout=_TIMEOUT * 3 + 5)
    except (OSError, TimeoutError) as error:
        return ProbeResult(label=probe.label, reached=None, detail=f"the probe could not be run: {error or 'no end in time'}")
    began, _, said = done.out.partition("\n")
    words = " ".join((said + done.err).split()) or f"exit code {done.code}"
    if began != "inside" or done.code not in answers:
        return ProbeResult(label=probe.label, reached=None, detail=f"the probe could not be run: {done.out} {words}".strip())
    return ProbeResult(label=probe.label, reached=answers[done.code], detail=words)


def _command(programs: Programs, probe: Probe) -> tuple[tuple[str, ...], dict[int, bool]]:
    """What to run, and which of its exit codes mean that the address was reached, or not."""
    ready = {0: True, 1: True, 2: False}
    socket = probe.address.startswith(("/", "@"))
    if not socket and not _HOST.fullmatch(probe.address):
        return (), {}
    if socket or probe.port is not None or _is_address(probe.address):
        port = str(probe.port or _DEFAULT_PORT)
        return (str(programs.bin / "pg_isready"), "-t", str(_TIMEOUT), "-h", probe.address, "-p", port), ready
    # getent(1): 2 when a key was not found.
    return ("getent", "hosts", "--", probe.address), {0: True, 2: False}


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return False
    return True


def network_facts(server: Running) -> dict[str, Any]:
    """What the server's own network looks like: its interfaces, how many routes lead out, and which namespaces it is in."""
    base = Path(f"/proc/{server.pid}")
    try:
        interfaces = [line.partition(":")[0].strip() for line in (base / "net/dev").read_text().splitlines()[2:]]
        routes = len((base / "net/route").read_text().splitlines()) - 1
        spaces = {path.name: path.readlink().name for path in sorted((base / "ns").iterdir())}
    except OSError:
        return {}
    return {"interfaces": interfaces, "routes": max(routes, 0), "namespaces": spaces}
