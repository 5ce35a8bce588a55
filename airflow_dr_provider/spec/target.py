"""The recovery target of a spec."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, StrictInt, field_validator, model_validator

from airflow_dr_provider.domain.lsn import Lsn
from airflow_dr_provider.domain.target import RecoveryTarget, TargetKind
from airflow_dr_provider.spec.base import SpecPart

# Date, time, at most microseconds, offset: what PostgreSQL keeps. fromisoformat alone cuts longer fractions off silently.
_TIME = re.compile(
    r"(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d(?::\d\d(?:\.\d{1,6})?)?) ?(Z|[+-]\d\d(?::?\d\d)?)?", re.ASCII | re.IGNORECASE
)
_EXAMPLE = "2026-03-01T04:00:00+00:00"


def _timeline(value: Any) -> Any:
    if value in ("latest", "current") or (type(value) is int and 1 <= value < 1 << 32):
        return value
    raise ValueError("a timeline is latest, current or a number from 1 on")


_FORMS = ("recover_to", "time", "lsn", "xid", "restore_point")


class TargetSpec(SpecPart):
    """How far to recover: exactly one of ``recover_to``, ``time``, ``lsn``, ``xid`` and ``restore_point``."""

    model_config = ConfigDict(json_schema_extra={"oneOf": [{"required": [form]} for form in _FORMS]})

    recover_to: Literal["latest"] | None = None
    """``latest``: the last point that the archive can reach."""
    time: str | None = None
    """A time with an offset from UTC, like 2026-03-01T04:00:00+00:00."""
    lsn: str | None = None
    """A log sequence number, like 16/B374D848."""
    xid: str | None = None
    """A transaction id."""
    restore_point: str | None = None
    """A name given to pg_create_restore_point."""
    timeline: Annotated[Literal["latest", "current"] | StrictInt, BeforeValidator(_timeline)] = "latest"
    """The timeline to follow: the newest, the backup's own, or a number."""

    @field_validator("time")
    @classmethod
    def _time(cls, value: str | None) -> str | None:
        if value is None:
            return None
        match = _TIME.fullmatch(value)
        if match is None:
            raise ValueError(f"{value[:60]!r} is no time; write it with an offset and at most microseconds, like {_EXAMPLE}")
        day, clock, offset = match.groups()
        if offset is None:
            raise ValueError(f"{value!r} has no offset from UTC; write it like {day}T{clock}+00:00")
        try:
            moment = datetime.fromisoformat(f"{day}T{clock}{offset.upper()}").astimezone(UTC)
        except (ValueError, OverflowError):
            raise ValueError(f"{value!r} is no time that exists; write it like {_EXAMPLE}") from None
        return moment.isoformat()

    @field_validator("lsn", mode="before")
    @classmethod
    def _lsn(cls, value: Any) -> Any:
        return None if value is None else str(Lsn(str(value)))

    @field_validator("xid", mode="before")
    @classmethod
    def _xid(cls, value: Any) -> Any:
        if value is None:
            return None
        text = str(value)[:40]
        if not re.fullmatch(r"[0-9]{1,20}", text) or not 3 <= int(text) < 1 << 64:
            raise ValueError(f"{text!r} is no transaction id; it is a number from 3 on")
        return text

    @field_validator("restore_point")
    @classmethod
    def _restore_point(cls, value: str | None) -> str | None:
        # PostgreSQL cuts names at 63 bytes and writes them to its log; nothing longer or unprintable was ever made.
        if value is not None and (not value or len(value.encode()) > 63 or not value.isprintable()):
            raise ValueError(f"{value!r} is no restore point's name; it has 1 to 63 printable bytes")
        return value

    @model_validator(mode="after")
    def _one(self) -> TargetSpec:
        given = [name for name in _FORMS if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(
                f"give exactly one of {', '.join(_FORMS)}; there {'is none' if not given else 'are ' + str(given)}"
            )
        return self

    def recovery_target(self) -> RecoveryTarget:
        """The target as the domain knows it."""
        for kind in (TargetKind.TIME, TargetKind.LSN, TargetKind.XID, TargetKind.RESTORE_POINT):
            value = getattr(self, kind.value)
            if value is not None:
                return RecoveryTarget(kind=kind, value=value, timeline=self.timeline)
        return RecoveryTarget(kind=TargetKind.LATEST, timeline=self.timeline)
