"""The trigger form: what a person may ask of one run. Its defaults ask for nothing, and a run on schedule has the defaults.

The values come from whoever may trigger a DAG. Types and lists are guarded by the form's schema, which Airflow holds an API
call to as well; what a schema can't say (:mod:`airflow_dr_provider.spec.request`) is looked at by the task ``start``. Nothing
in them is evaluated: they are read as values, and a template in one stays text.
"""

from __future__ import annotations

from airflow.sdk import Param

from airflow_dr_provider.domain.fault_list import FAULTS
from airflow_dr_provider.domain.injection import NONE
from airflow_dr_provider.domain.request import LONGEST_KEEP_SECONDS, LONGEST_REASON
from airflow_dr_provider.domain.target import TargetKind
from airflow_dr_provider.spec.models import DrillSpec
from airflow_dr_provider.spec.request import AS_IN_THE_SPEC

RECOVERY = "Recovery"
RUN = "This run"
DRILL_OF_THE_DRILL = "Drill of the drill"
"""The section of the form that has faults to inject."""


def form(spec: DrillSpec) -> dict[str, Param]:
    """The form of a drill, in the order in which it is shown."""
    tiers = [tier.name for tier in spec.tiers]
    return {
        "recover_to": Param(
            AS_IN_THE_SPEC,
            enum=[AS_IN_THE_SPEC, *(kind.value for kind in TargetKind)],
            title="Recover to",
            section=RECOVERY,
        ),
        "target_value": Param(
            None,
            type=["null", "string"],
            maxLength=100,
            title="Which one",
            description_md="Its time, LSN, id or name.",
            section=RECOVERY,
        ),
        "as_of": Param(
            None,
            type=["null", "string"],
            format="date-time",
            title="Moment of the disaster",
            description_md="RPO counts from it.",
            section=RECOVERY,
        ),
        "first_tier": Param(
            tiers[0],
            enum=tiers,
            title="First tier",
            description_md="Those before it are not tried.",
            section=RUN,
        ),
        "keep_minutes": Param(
            0,
            type="integer",
            minimum=0,
            maximum=LONGEST_KEEP_SECONDS // 60,
            title="Keep the server, minutes",
            description_md="Needs a reason.",
            section=RUN,
        ),
        "reason": Param(
            None,
            type=["null", "string"],
            maxLength=LONGEST_REASON,
            title="Reason",
            section=RUN,
        ),
        "inject": Param(
            NONE,
            enum=[NONE, *FAULTS],
            title="Fault",
            # What each does is in `airflow-dr inject --list`; here it would be the largest part of each version of the DAG.
            description_md="Damages the drill's own copy.",
            section=DRILL_OF_THE_DRILL,
        ),
        "inject_tier": Param(
            None,
            enum=[None, *tiers],
            title="Tier",
            description_md="Its first attempt is struck.",
            section=DRILL_OF_THE_DRILL,
        ),
    }
