"""The contract of a drill: what a YAML file may say."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Annotated, Any, Literal

from pydantic import (
    BeforeValidator,
    Field,
    StrictBool,
    StrictInt,
    StringConstraints,
    ValidationInfo,
    field_validator,
    model_validator,
)

from airflow_dr_provider.custom_checks import custom_checks
from airflow_dr_provider.domain.cadence import Cadence
from airflow_dr_provider.domain.profiles import CHECK_NAMES
from airflow_dr_provider.domain.routing import TAGS
from airflow_dr_provider.spec.base import (
    CONNECTION_ID,
    FilePath,
    Identifier,
    Name,
    PoolName,
    QualifiedName,
    SegmentName,
    SpecPart,
    Text,
)
from airflow_dr_provider.spec.durations import Duration
from airflow_dr_provider.spec.gate import Query, Smoke, TierChecks, known_checks
from airflow_dr_provider.spec.notifications import Channel
from airflow_dr_provider.spec.repository import RepositorySpec
from airflow_dr_provider.spec.sandbox import SandboxSpec
from airflow_dr_provider.spec.schedule import Schedule, cadence_of
from airflow_dr_provider.spec.sizes import Size
from airflow_dr_provider.spec.target import TargetSpec

ConnectionId = Annotated[str, StringConstraints(strict=True, pattern=CONNECTION_ID)]


class Objectives(SpecPart):
    """The objectives of a drill."""

    rto: Duration
    """Recovery time objective: how long a recovery may take."""
    rpo: Duration
    """Recovery point objective: how much data, in time, may be lost."""
    mtd: Duration
    """Maximum tolerable downtime: after it, recovery is too late."""

    @model_validator(mode="after")
    def _ordered(self) -> Objectives:
        if self.rto > self.mtd:
            raise ValueError("rto is longer than mtd; a recovery that takes its time would come too late")
        return self


class Heartbeat(SpecPart):
    """A row that production writes all the time: it shows how much data was really lost."""

    table: QualifiedName
    """The table, schema.table or table."""
    column: Identifier
    """The column of its newest time."""
    database: Text | None = None
    """The database; looked for when left out."""


class FileReference(SpecPart):
    """A reference that `airflow-dr reference capture` wrote."""

    file: FilePath
    """The file; relative to the spec's own folder."""


_REFERENCES = ("production", "last_good_run")


def _reference(value: Any) -> Any:
    """Take the two forms apart before the union does, which would complain about both."""
    if isinstance(value, FileReference) or (isinstance(value, str) and value in _REFERENCES):
        return value
    if isinstance(value, dict):
        return FileReference.model_validate(value)
    raise ValueError("a reference is production, last_good_run or {file: ./reference.json}")


class Source(SpecPart):
    """Where backups come from, and what they are compared with."""

    repository: RepositorySpec
    """The backup repository."""
    production_conn_id: ConnectionId | None = None
    """A read-only connection to production; without Airflow read from AIRFLOW_CONN_…"""
    heartbeat: Heartbeat | None = None
    """The heartbeat's place."""
    reference: Annotated[Literal["production", "last_good_run"] | FileReference, BeforeValidator(_reference)] = "last_good_run"
    """What schema, indexes and rows are compared with; production when a connection is given, else the last good run."""

    @model_validator(mode="before")
    @classmethod
    def _default(cls, value: object) -> object:
        if isinstance(value, dict) and value.get("production_conn_id") and "reference" not in value:
            return {**value, "reference": "production"}
        return value

    @model_validator(mode="after")
    def _reachable(self) -> Source:
        if self.reference == "production" and self.production_conn_id is None:
            raise ValueError("reference: production needs a production_conn_id; or write reference: last_good_run")
        return self


class AcknowledgedHole(SpecPart):
    """Missing WAL that is known and can't be had any more. What it covers is no finding; it makes no backup eligible."""

    first: SegmentName
    """The first missing segment's file name."""
    last: SegmentName | None = None
    """The last one's, when there are more; of the same timeline."""
    reason: Text
    """Why it is accepted; the record shows it."""

    @model_validator(mode="after")
    def _in_order(self) -> AcknowledgedHole:
        if self.last is not None and (self.last[:8] != self.first[:8] or self.last < self.first):
            raise ValueError("last is a segment of first's timeline, and not before first")
        return self


class Selection(SpecPart):
    """The bounds of the choice."""

    lookback: Duration = timedelta(days=7)
    """No backup older than this is taken."""
    candidates: StrictInt = Field(default=4, ge=1, le=16)
    """How many attempts a run may make in all, when there are fewer tiers: the last tier then tries further backups."""
    acknowledged: tuple[AcknowledgedHole, ...] = ()
    """Holes in the WAL that are known: exactly these segments."""


class Verification(SpecPart):
    """How often `airflow-dr verify` reads what it has read before."""

    reverify_after: Duration = timedelta(days=30)
    """What was read longer ago is read again."""
    share: StrictInt = Field(default=1, ge=0, le=100)
    """How many percent of all bytes are read again each time, the longest unread first, to catch rot before that."""


class Limits(SpecPart):
    """What ends an attempt in order, before the machine ends it in none."""

    disk_free: Size = 32 << 20
    """How much the disk under the sandbox has to have left."""
    memory_free: Size = 32 << 20
    """How much memory the machine, or its control group, has to have left."""
    unreachable: Duration = timedelta(seconds=30)
    """How long a restored server that runs may answer nobody."""


class Tier(SpecPart):
    """One recovery pathway."""

    name: Name
    """Its name, unique in the chain."""
    role: Literal["staging", "isolated", "cold_storage"]
    """What it stands for."""
    sandbox: SandboxSpec
    """Where the restored server runs."""
    timeout: Duration
    """How long one attempt may take."""
    retries: StrictInt = Field(default=0, ge=0, le=10)
    """How often a stage is tried again whose failure may heal by itself."""
    profile: Literal["full", "standard", "light"] = "standard"
    """Which checks make its gate."""
    cache_warming: Literal["full", "light", "none"] = "none"
    """Whether caches are warmed before the gate."""
    rpo: Duration | None = None
    """Its own recovery point objective, when it isn't the drill's."""
    pool: PoolName | None = None
    """The Airflow pool whose slots its tasks take; `airflow-dr setup` makes it."""
    exclude_checks: tuple[str, ...] = ()
    """Checks of the profile that are left out."""

    checks: TierChecks = TierChecks()
    """What its gate has beyond the profile, or lacks."""

    _known = field_validator("exclude_checks")(known_checks)

    @property
    def excluded(self) -> frozenset[str]:
        """Every word that is left out."""
        return frozenset((*self.exclude_checks, *self.checks.exclude))


class Triage(SpecPart):
    """The question to a person."""

    response_timeout: Duration = timedelta(hours=8)
    """How long the question to a person waits."""
    assigned_users: tuple[Text, ...] = ()
    """Ids of the Airflow users who may answer; anybody who may edit the DAG's runs when left out."""


class DrillSpec(SpecPart):
    """A drill."""

    version: Literal[1]
    """The version of this format."""
    drill: Name
    """The drill's name."""
    description: str = ""
    """A sentence for people."""
    schedule: Schedule | None = None
    """A cron expression, or a mapping with cron, after_backup, blackout, jitter and timezone; left out, by hand only."""
    objectives: Objectives
    """What a recovery has to achieve."""
    source: Source
    """Where backups come from."""
    target: TargetSpec = TargetSpec(recover_to="latest")
    """How far to recover."""
    selection: Selection = Selection()
    """Which backups may be chosen."""
    tiers: tuple[Tier, ...] = Field(min_length=1, max_length=16)
    """The chain, in order."""
    databases: tuple[Text, ...] | None = None
    """The databases that checks cover; every one when left out."""
    smoke: tuple[Smoke, ...] = ()
    """Statements that have to answer true."""
    limits: Limits = Limits()
    """What ends an attempt before its time."""
    queries: tuple[Query, ...] = ()
    """Queries whose plans and latency are compared with those of earlier good runs."""
    triage: Triage = Triage()
    """What happens when no tier recovered."""
    notifications: tuple[Channel, ...] = Field(default=(), max_length=16)
    """Whom Airflow tells of outcomes and questions."""
    verification: Verification = Verification()
    """How often the repository's content is read anew."""
    overlap: StrictBool = False
    """Whether two runs of this drill may be under way at once."""
    row_drop: StrictInt = Field(default=50, ge=0, le=100)
    """By how many percent a table may be smaller than in an older reference."""
    tags: tuple[Text, ...] = ()
    """Tags of the generated DAG."""

    @field_validator("version", mode="before")
    @classmethod
    def _whole(cls, value: Any) -> Any:
        # true and 1.0 equal 1, and are no version.
        if type(value) is not int:
            raise ValueError("the version of this format is the number 1")
        return value

    @property
    def cadence(self) -> Cadence | None:
        """When it begins by itself; None for one that is triggered by hand."""
        return cadence_of(self.schedule, self.drill)

    @model_validator(mode="after")
    def _unique(self) -> DrillSpec:
        for what, parts in (("tiers", self.tiers), ("smoke", self.smoke), ("queries", self.queries)):
            twice = _twice(part.name for part in parts)
            if twice:
                raise ValueError(f"{what}: the name {twice} is there twice")
        if self.databases is not None and not self.databases:
            raise ValueError("databases: name at least one, or leave it out to cover every database")
        return self

    @model_validator(mode="after")
    def _routed(self, info: ValidationInfo) -> DrillSpec:
        tiers = {tier.name for tier in self.tiers}
        statements: tuple[Smoke | Query, ...] = (*self.smoke, *self.queries)
        own = {tag for asked in statements for tag in asked.tags}
        for asked in statements:
            for name in asked.tiers:
                if name not in tiers:
                    raise ValueError(f"{asked.name}: tiers: there is no tier {name}; known: {', '.join(sorted(tiers))}")
        known = (*CHECK_NAMES, *custom_checks(), *sorted(TAGS | own))
        for tier in self.tiers:
            for word in tier.checks.exclude:
                if word not in known and not info.context:
                    raise ValueError(f"tier {tier.name}: checks.exclude: no check or tag {word}; known: {', '.join(known)}")
        return self


def _twice(names: Iterable[str]) -> str | None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            return name
        seen.add(name)
    return None
