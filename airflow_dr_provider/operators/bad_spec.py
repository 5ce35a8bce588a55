"""Refuse a spec that can't be used."""

from __future__ import annotations

from typing import Any

from airflow.sdk import BaseOperator

from airflow_dr_provider.hooks.exceptions import DrillFailedError


class BadSpecOperator(BaseOperator):
    """Fails with what is wrong.

    :param message: what is wrong, with file and line.
    """

    def __init__(self, *, message: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.message = message

    def execute(self, context: Any) -> None:
        """Refuse.

        :raises DrillFailedError: always.
        """
        raise DrillFailedError(self.message)
