"""Choose a restore coordinate."""

from __future__ import annotations

from airflow_dr_provider.domain.verdicts import StageName
from airflow_dr_provider.operators.base import StageOperator


class PITRSelectOperator(StageOperator):
    """Choose backup, timeline and target for an attempt, from the backup catalog as it is now.

    The whole table, winners and losers with every reason and every term of the score, is kept in the state store.

    :param rung: the attempt's place in the chain, from 0.
    """

    stage = StageName.SELECT
