"""Reserve, provision and tear down the sandbox of an attempt."""

from __future__ import annotations

from airflow_dr_provider.domain.verdicts import StageName
from airflow_dr_provider.links.drill import SandboxLogLink
from airflow_dr_provider.operators.base import StageOperator
from airflow_dr_provider.operators.waiting import WaitingStageOperator


class SandboxReserveOperator(StageOperator):
    """Write down that a sandbox will be made, with its lease. The setup of an attempt: it makes nothing itself.

    A teardown doesn't run when its setup failed, so whatever can fail half-way belongs into the task after this one.

    :param rung: the attempt's place in the chain, from 0.
    """

    stage = StageName.RESERVE


class SandboxProvisionOperator(WaitingStageOperator):
    """Make the empty, isolated environment: directory, account, programs, namespaces, room on the disk.

    :param rung: the attempt's place in the chain, from 0.
    :param deferrable: whether a wait for a remote environment is the triggerer's; see :class:`.WaitingStageOperator`.
    """

    stage = StageName.PROVISION


class SandboxTeardownOperator(WaitingStageOperator):
    """Remove the sandbox and look again; what is still there fails the task, by name.

    :param rung: the attempt's place in the chain, from 0.
    :param deferrable: whether a wait for a remote environment is the triggerer's; see :class:`.WaitingStageOperator`.
    """

    stage = StageName.TEARDOWN
    operator_extra_links = (SandboxLogLink(),)
