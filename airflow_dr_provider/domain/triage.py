"""A person's answer when no tier recovered, and what becomes of it.

No answer changes what was proved. An accepted risk stays ``MANUAL_TRIAGE``, with who accepted it and why: green is for a
recovery alone. Another attempt that recovers is ``RECOVERED_DEGRADED``, as with every rung after the first; one that doesn't
leaves the run where it was. The runner asks nobody: it ends at ``manual_triage``.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum

from airflow_dr_provider.domain.value import Value


class Answer(StrEnum):
    """What may be answered."""

    RETRY = "Try a tier again"
    INCIDENT = "Declare an incident"
    ACCEPT = "Accept the risk"
    NONE = "No answer"


class TriageAnswer(Value):
    """An answer, kept.

    :param answer: what counts; ``NONE`` for one that doesn't.
    :param chosen: what was chosen, in the form's words.
    :param tier: the tier to try again.
    :param by: who answered; empty when nobody did in time.
    :param note: why an answer doesn't count, or what it leads to.
    """

    answer: Answer
    chosen: str
    tier: str | None = None
    reason: str = ""
    by: str = ""
    at: datetime
    note: str = ""

    @property
    def said(self) -> str:
        """Who said what, in a line."""
        return ": ".join(part for part in (self.by, self.reason) if part)


def judge_answer(
    chosen: str, *, tier: str | None, reason: str, by: str, at: datetime, tiers: Sequence[str], can_retry: bool
) -> TriageAnswer:
    """What an answer amounts to.

    :param tiers: the chain's tiers.
    :param can_retry: False when the run ended as it opened: without a point to recover to there is nothing to try.
    """
    reason = reason.strip()
    answer, note = Answer.NONE, ""
    if chosen == Answer.ACCEPT:
        if reason:
            answer, note = Answer.ACCEPT, "The risk is accepted; nothing was proved, so the outcome stays as it is."
        else:
            note = "Nothing is accepted: a risk is accepted with a reason, and none was given."
    elif chosen == Answer.INCIDENT:
        answer = Answer.INCIDENT
    elif chosen == Answer.RETRY:
        if not can_retry:
            note = "Nothing can be tried again: the run ended when it opened. Mend the cause and trigger the drill again."
        elif tier not in tiers:
            note = f"Nothing was tried again: the drill has no tier {str(tier)[:60]!r}; its tiers are {', '.join(tiers)}."
        else:
            answer = Answer.RETRY
    return TriageAnswer(
        answer=answer,
        chosen=chosen,
        tier=tier if answer is Answer.RETRY else None,
        reason=reason,
        by=by,
        at=at,
        note=note,
    )
