"""Restore and recover to a point in time, and warm what was restored."""

from __future__ import annotations

from airflow_dr_provider.domain.verdicts import StageName
from airflow_dr_provider.operators.base import StageOperator
from airflow_dr_provider.operators.waiting import WaitingStageOperator


class PITRRestoreOperator(WaitingStageOperator):
    """Put the chosen backup into the sandbox, verify every byte on the way, and replay WAL to the target.

    No server is started on files that failed their verification.

    :param rung: the attempt's place in the chain, from 0.
    :param deferrable: whether a wait for a remote environment is the triggerer's; see :class:`.WaitingStageOperator`.
    """

    stage = StageName.RESTORE


class CacheWarmOperator(StageOperator):
    """Read the restored relations into the caches, as far as the tier asks for it.

    :param rung: the attempt's place in the chain, from 0.
    """

    stage = StageName.WARM
