"""What stands in Airflow's page for a spec that can't be used."""

from __future__ import annotations

import re
from pathlib import Path

from airflow.sdk import DAG

from airflow_dr_provider.operators.bad_spec import BadSpecOperator


def bad_spec_dag(path: Path, message: str) -> DAG:
    """A DAG that says what is wrong with a spec, and fails with the same words when it is triggered.

    :param message: the loader's, one mistake a line.
    """
    with DAG(
        dag_id=f"bad_spec_{re.sub(r'[^A-Za-z0-9_.-]', '_', path.stem)}",
        description=f"{path.name} can't be used",
        doc_md=f"### {path.name} can't be used\n\n```\n{message}\n```\n\n`airflow-dr lint` says the same.",
        schedule=None,
        catchup=False,
        tags=["bad spec", "dr"],
        default_args={"owner": "dr", "retries": 0},
    ) as dag:
        BadSpecOperator(task_id="refuse", message=message)
    return dag
