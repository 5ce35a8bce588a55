"""Can the restored server reach production?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from psycopg import errors

from airflow_dr_provider.checks.base import CheckContext
from airflow_dr_provider.checks.parallel import any_connection
from airflow_dr_provider.domain.reports import Probe, ProbeResult
from airflow_dr_provider.domain.verdicts import CheckResult, Verdict


class IsolationCheck:
    """Tries to get out from inside, to every address of production that the drill knows, and reads the server's own routes.

    Proves that those addresses can't be reached from the restored server, over TCP or over a Unix socket, at this moment.
    Can't prove it of addresses that nobody named; that the server has no route but over its own loopback says so for TCP.
    """

    name: ClassVar[str] = "isolation"
    default_timeout: ClassVar[float] = 60.0

    async def run(self, context: CheckContext) -> Sequence[CheckResult]:
        """Probe, unless isolation is switched off."""
        report = context.isolation
        facts: dict[str, Any] = {"wanted": report.wanted, "reached": list(report.reached), "missing": report.missing}
        if report.wanted == "off":
            return (self._open(False, "Isolation is switched off for this tier, so nothing was probed.", facts),)
        results = await context.probe(context.probes) if context.probes else ()
        routes = await _routes(context)
        facts["probes"] = [result.model_dump() for result in results]
        facts["routes"] = routes
        answered = {result.label: result for result in results}
        breaches = [
            f"{probe.label} ({answered[probe.label].detail})"
            for probe in context.probes
            if probe.label in answered and answered[probe.label].reached and self._promised(context, probe)
        ]
        if breaches:
            return (
                CheckResult(
                    name=self.name,
                    verdict=Verdict.FAILED,
                    signature="ISOLATION_BREACHED",
                    detail=f"Reached from inside the sandbox: {'; '.join(breaches)}.",
                    facts=facts,
                ),
            )
        if "network" not in report.reached:
            required = report.wanted == "required"
            why = report.missing or "the sandbox shares the network of its host"
            return (self._open(required, f"The sandbox is not isolated: {why}.", facts),)
        return (self._isolated(context.probes, answered, routes, facts),)

    @staticmethod
    def _promised(context: CheckContext, probe: Probe) -> bool:
        """Whether this probe had to fail: always where isolation is required, else where its kind of it was reached."""
        kind = "mount" if probe.address.startswith("/") else "network"
        return context.isolation.wanted == "required" or kind in context.isolation.reached

    def _isolated(
        self, probes: Sequence[Probe], answered: dict[str, ProbeResult], routes: list[str] | None, facts: dict[str, Any]
    ) -> CheckResult:
        silent = [probe.label for probe in probes if probe.label not in answered or answered[probe.label].reached is None]
        if silent:
            return self._open(True, f"These probes could not be run: {', '.join(silent)}.", facts)
        got_out = [label for label, result in answered.items() if result.reached]
        if got_out:
            return self._open(
                False, f"The file system is not isolated: {', '.join(got_out)} can be reached over its socket.", facts
            )
        if not probes and routes is None:
            return self._open(True, "No address of production is known to probe, and the server's routes can't be read.", facts)
        if not probes and routes:
            return self._open(
                True, f"No address of production is known to probe, and the server has a route over {', '.join(routes)}.", facts
            )
        tried = (
            f"{len(probes)} probes from inside failed, as they must" if probes else "No address of production is known to probe"
        )
        alone = "; the server has no route but over its own loopback" if routes == [] else ""
        return CheckResult(name=self.name, verdict=Verdict.PASSED, detail=f"{tried}{alone}.", facts=facts)

    def _open(self, required: bool, detail: str, facts: dict[str, Any]) -> CheckResult:
        return CheckResult(
            name=self.name,
            verdict=Verdict.COULD_NOT_VERIFY,
            signature="ISOLATION_UNAVAILABLE",
            required=required,
            detail=detail,
            facts=facts,
        )


async def _routes(context: CheckContext) -> list[str] | None:
    """Interfaces over which the server's own network namespace has a route, loopback left out; None where nobody can say.

    The backend reads its own /proc (Linux): what it sees is what the server has, whatever the sandbox's adapter reported.
    """
    try:
        async with await any_connection(context) as connection:
            cursor = await connection.execute(
                "SELECT pg_catalog.pg_read_file('/proc/net/route', 0, 1048576, true), "
                "pg_catalog.pg_read_file('/proc/net/ipv6_route', 0, 1048576, true)"
            )
            row = await cursor.fetchone()
    except (errors.InsufficientPrivilege, errors.UndefinedFile, errors.IoError):
        return None
    if row is None or row[0] is None:
        return None
    fourth = {line.split()[0] for line in row[0].splitlines()[1:] if line.split()}
    sixth = {line.split()[-1] for line in (row[1] or "").splitlines() if line.split()}
    return sorted((fourth | sixth) - {"lo"})
