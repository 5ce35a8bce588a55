"""What a form or a command line asks of one run: guarded as a spec is. The values come from whoever may trigger a DAG."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from airflow_dr_provider.domain.request import LONGEST_KEEP_SECONDS, LONGEST_REASON, RunRequest
from airflow_dr_provider.domain.target import RecoveryTarget, TargetKind
from airflow_dr_provider.errors import SpecError
from airflow_dr_provider.spec.durations import parse_duration
from airflow_dr_provider.spec.models import DrillSpec
from airflow_dr_provider.spec.target import TargetSpec

AS_IN_THE_SPEC = "as in the spec"
"""What a form says when the target isn't to be another one."""
NO_KEEPING = ("", "no", "0")


def run_request(
    spec: DrillSpec,
    *,
    recover_to: Any = None,
    value: Any = None,
    first_tier: Any = None,
    keep_for: Any = None,
    reason: Any = None,
) -> RunRequest:
    """The request that these texts make. Whatever is empty asks for nothing.

    :param recover_to: ``latest``, ``time``, ``lsn``, ``xid`` or ``restore_point``.
    :param value: that target's value; none for ``latest``.
    :param first_tier: the tier to begin with.
    :param keep_for: for how long the restored server stays up after the run, like ``2h``; at most a day.
    :param reason: why; needed to keep the server.
    :raises SpecError: ``REQUEST_REFUSED``, saying which of them can't be used, and why.
    """
    told = _text("reason", reason)
    if len(told) > LONGEST_REASON:
        raise _refused(f"reason: it has {len(told)} characters; {LONGEST_REASON} at most.")
    keep = _keep(_text("keep_for", keep_for))
    if keep and not told:
        raise _refused("keep_for: who keeps a copy of production's data says why. Give a reason.")
    return RunRequest(
        target=_target(spec, _text("recover_to", recover_to), _text("target_value", value)),
        first_tier=_tier(spec, _text("first_tier", first_tier)),
        keep_seconds=keep,
        reason=told,
    )


def requested_target(text: str) -> tuple[str, str]:
    """The kind and the value of a command line's ``KIND=VALUE``; ``latest`` has no value."""
    kind, _, value = text.partition("=")
    return kind.strip(), value.strip()


def _text(name: str, value: Any) -> str:
    if value is None:
        return ""
    text = str(value).strip()
    if "\x00" in text:
        raise _refused(f"{name}: it holds a character that can't be kept.")
    return text


def _target(spec: DrillSpec, kind: str, value: str) -> RecoveryTarget | None:
    if kind in ("", AS_IN_THE_SPEC):
        if value:
            raise _refused(f"target_value: {value[:60]!r} has no kind. Say what it is: time, lsn, xid or restore_point.")
        return None
    known = [one.value for one in TargetKind]
    if kind not in known:
        raise _refused(f"recover_to: {kind[:60]!r} is no kind of target; known: {', '.join(known)}.")
    if kind == TargetKind.LATEST:
        if value:
            raise _refused(f"target_value: latest has none, and {value[:60]!r} was given.")
        fields = {"recover_to": kind}
    elif not value:
        raise _refused(f"target_value: it is empty. Say which {kind.replace('_', ' ')}.")
    else:
        fields = {kind: value}
    try:
        # The timeline stays the spec's: it says which history is followed, not how far.
        return TargetSpec.model_validate({**fields, "timeline": spec.target.timeline}).recovery_target()
    except ValidationError as error:
        raise _refused(f"target_value: {error.errors()[0]['msg'].removeprefix('Value error, ')}.") from None


def _tier(spec: DrillSpec, name: str) -> str | None:
    tiers = [tier.name for tier in spec.tiers]
    if name and name not in tiers:
        raise _refused(f"first_tier: the drill has no tier {name[:60]!r}; its tiers are {', '.join(tiers)}.")
    # The chain's first tier is no wish: the run is the usual one.
    return name if name and name != tiers[0] else None


def _keep(text: str) -> int:
    if text in NO_KEEPING:
        return 0
    try:
        seconds = int(parse_duration(text).total_seconds())
    except ValueError as error:
        raise _refused(f"keep_for: {error}.") from None
    if seconds > LONGEST_KEEP_SECONDS:
        raise _refused(f"keep_for: {text} is too long; {LONGEST_KEEP_SECONDS // 3600}h at most.")
    return seconds


def _refused(message: str) -> SpecError:
    return SpecError(message, code="REQUEST_REFUSED")
