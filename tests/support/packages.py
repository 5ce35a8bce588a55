"""An installed package that brings checks of its own: a folder for ``sys.path`` or PYTHONPATH, as pip would leave it."""

from __future__ import annotations

from pathlib import Path

MODULE = '''\
from airflow_dr_provider.domain.routing import Cost, Phase, Traits
from airflow_dr_provider.domain.verdicts import CheckResult, Verdict


class Balance:
    """Asks the restored data."""

    name = "balance"
    default_timeout = 30.0
    wanted = Verdict.PASSED
    traits = Traits(cost=Cost.CHEAP, phase=Phase.WRITING, needs=("freshness",), tags=("money",))

    async def run(self, context):
        async with await context.connect("postgres", "smoke") as connection:
            row = await (await connection.execute("SELECT sum(amount) > 0 FROM orders")).fetchone()
        assert row == (True,)
        return [CheckResult(name=self.name, verdict=self.wanted, proves_data=True)]


class Unbalanced(Balance):
    name = "unbalanced"
    wanted = Verdict.FAILED


class Broken(Balance):
    name = "broken"

    def __init__(self):
        raise RuntimeError("made of straw")
'''
POINTS = """\
[airflow_dr_provider.checks]
balance = acme_checks:Balance
unbalanced = acme_checks:Unbalanced
broken = acme_checks:Broken
absent = acme_no_such_module:Check
leaves = acme_leaves:Check
amcheck = acme_checks:Balance
Not A Name = acme_checks:Balance
"""


def install_checks(folder: Path) -> Path:
    """Lay the package down; its folder."""
    (folder / "acme_checks.py").write_text(MODULE)
    (folder / "acme_leaves.py").write_text("import sys\nsys.exit(3)\n")
    info = folder / "acme_checks-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-checks\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(POINTS)
    return folder
