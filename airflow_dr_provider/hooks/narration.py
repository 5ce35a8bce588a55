"""What a task's log says of a drill: one fold for each stage, its checks inside, one line of its end below."""

from __future__ import annotations

from typing import Any

from airflow_dr_provider.domain.verdicts import Verdict
from airflow_dr_provider.stages.services import Progress


class Narration:
    """Writes the progress of a drill to a task's log. Airflow's page folds what lies between ``::group::`` and ``::endgroup::``.

    :param log: the task's logger.
    """

    def __init__(self, *, log: Any) -> None:
        self._log = log
        self._open = False

    def say(self, event: Progress) -> None:
        """Write one event."""
        if event.started and event.stage is not None:
            self.close()
            self._log.info("::group::%s %s", event.place, event.stage.value)
            self._open = True
        elif event.result is not None:
            result, code = event.result, f" {event.result.signature}" if event.result.signature else ""
            for check in result.checks:
                write = self._log.info if check.verdict is Verdict.PASSED else self._log.warning
                write("  %s: %s%s", check.name, check.verdict.value, f": {check.detail}" if check.detail else "")
            self.close()
            # Below the fold, so that it is seen without opening anything.
            write = self._log.info if result.verdict is Verdict.PASSED else self._log.error
            line = f"{event.place} {result.stage.value}: {result.verdict.value}{code} in {result.elapsed_seconds:.1f} s"
            counted = f", {len(result.checks)} checks" if result.checks else ""
            write("%s%s%s", line, counted, f": {result.detail}" if result.detail else "")
        elif event.message:
            self._log.info("%s", event.message)

    def close(self) -> None:
        """End the fold that is open, if one is: what an interruption left open would swallow the rest of the log."""
        if self._open:
            self._open = False
            self._log.info("::endgroup::")
