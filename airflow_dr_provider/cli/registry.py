"""The commands, by name: where each is, and what it does. Nothing is imported for it, not even click."""

from __future__ import annotations

COMMANDS = {
    "setup": ("airflow_dr_provider.cli.setup:setup", "Make what drills need of an Airflow, or look whether it is there."),
    "run": ("airflow_dr_provider.cli.run:run", "Walk a drill's chain without Airflow."),
    "verify": ("airflow_dr_provider.cli.verify:verify", "Read what is due of a repository, and say what is wrong."),
    "quarantine": ("airflow_dr_provider.cli.quarantine:quarantine", "List backups in quarantine, and take them out."),
    "plan": ("airflow_dr_provider.cli.plan:plan", "Show what a run would choose, and why."),
    "lint": ("airflow_dr_provider.cli.lint:lint", "Say what is wrong with specs."),
    "schema": ("airflow_dr_provider.cli.schema:schema", "Print the JSON Schema of a spec."),
    "reference": ("airflow_dr_provider.cli.reference:reference", "Capture what production looks like."),
    "runs": ("airflow_dr_provider.cli.show:runs", "List the latest runs."),
    "show": ("airflow_dr_provider.cli.show:show", "Show a run's record."),
    "watch": ("airflow_dr_provider.cli.watch:watch", "Say what is wrong with backups before anybody needs them."),
    "inject": ("airflow_dr_provider.cli.inject:inject", "List the faults that a run can inject into its own copy."),
    "manifest": ("airflow_dr_provider.cli.manifest:manifest", "Print where a run's restored server is."),
    "metrics": ("airflow_dr_provider.cli.metrics:metrics", "Print the latest run of each drill for Prometheus."),
    "signatures": ("airflow_dr_provider.cli.signatures:signatures", "List the failures seen, and since when."),
    "reap": ("airflow_dr_provider.cli.reap:reap", "Remove what outlived its lease or its run."),
}
