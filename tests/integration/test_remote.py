"""Drills in a sandbox whose steps are done elsewhere: through the runner, with the environment's every mood."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.drills import Bench
from tests.support.remote_sandbox import KIND, Remote, install, service

pytestmark = pytest.mark.postgres

TIER = "  - {{name: {name}, role: {role}, sandbox: {sandbox}, timeout: {timeout}, profile: light, retries: {retries}}}\n"
SPEC = """\
version: 1
drill: orders
objectives: {{rto: 30m, rpo: 1h, mtd: {mtd}}}
source:
  repository: {{kind: basebackup, backups: ./backups, archive: ./archive}}
  heartbeat: {{table: public.dr_heartbeat, column: beat_at}}
target: {{recover_to: latest}}
tiers:
{tiers}smoke:
  - {{name: orders_present, sql: "SELECT count(*) > 0 FROM orders"}}
"""


@dataclass
class Elsewhere:
    """A bench whose first tier is in the remote environment."""

    bench: Bench
    remote: Remote

    def write(
        self,
        *,
        stages: str = "provision",
        local: bool = False,
        timeout: str = "2m",
        mtd: str = "4h",
        retries: int = 0,
        **more: Any,
    ) -> None:
        """Write the spec.

        :param stages: what the environment does.
        :param local: whether a second tier is on this machine.
        :param more: further settings of the sandbox.
        """
        repository = f"{{kind: basebackup, backups: {self.bench.backups}, archive: {self.bench.archive}}}"
        keys = {"endpoint": self.remote.endpoint, "remote": f"[{stages}]", "repository": repository, **more}
        sandbox = f"{{kind: {KIND}, " + ", ".join(f"{key}: {value}" for key, value in keys.items()) + "}"
        tiers = TIER.format(name="primary", role="staging", sandbox=sandbox, timeout=timeout, retries=retries)
        if local:
            tiers += TIER.format(name="local", role="isolated", sandbox="{kind: process}", timeout="2m", retries=0)
        self.bench.spec.write_text(SPEC.format(tiers=tiers, mtd=mtd))

    def start(self) -> subprocess.Popen[bytes]:
        """The runner, on its way."""
        return subprocess.Popen(
            self.bench.command("run", str(self.bench.spec), "--json", "--as-of", self.bench.disaster.isoformat()),
            env=self.bench.env(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="/",
        )  # fmt: skip

    def await_asked(self, stage: str, times: int = 1) -> str:
        """Wait until a stage's step was begun and asked about; its name."""
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            asked = self.remote.log()["asked"]
            for name, number in asked.items():
                if f"-{stage}-" in name and number >= times:
                    return str(name)
            time.sleep(0.05)
        raise AssertionError(f"nobody waits for {stage}: {self.remote.log()}")


@pytest.fixture
def elsewhere(bench: Bench, tmp_path: Path) -> Iterator[Elsewhere]:
    packages = install(tmp_path / "site")
    root = Path(__file__).parents[2]
    bench.environment["PYTHONPATH"] = f"{root}:{packages}"
    with service(bench.folder) as remote:
        yield Elsewhere(bench, remote)


def stages_of(document: dict[str, Any], attempt: int = 0) -> dict[str, dict[str, Any]]:
    return {stage["name"]: stage for stage in document["attempts"][attempt]["stages"]}


# -- well --------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("stages", ["provision", "provision, restore, validate, teardown"])
def test_a_drill_elsewhere(elsewhere: Elsewhere, stages: str) -> None:
    elsewhere.write(stages=stages)
    document = elsewhere.bench.run()
    assert document["outcome"] == "RECOVERED", document
    log = elsewhere.remote.log()
    assert len(log["begun"]) == len(stages.split(","))
    assert set(log["begun"].values()) == {1}
    assert stages_of(document)["provision"]["elapsed_seconds"] >= 0.5
    assert log["cancelled"] == []


def test_the_spec_is_judged_by_the_packages_own_model(elsewhere: Elsewhere) -> None:
    elsewhere.write(secnds=3)
    done = elsewhere.bench.call("lint", str(elsewhere.bench.spec))
    assert done.returncode != 0
    assert "secnds" in done.stdout + done.stderr


# -- ill ---------------------------------------------------------------------------------------------------------------
def test_what_the_environment_gave_up_is_named_and_the_chain_goes_on(elsewhere: Elsewhere) -> None:
    elsewhere.write(local=True)
    elsewhere.remote.faults(fail={"provision": {}})
    document = elsewhere.bench.run()
    assert document["outcome"] == "RECOVERED_DEGRADED", document
    failed = stages_of(document)["provision"]
    assert (failed["signature"], failed["verdict"]) == ("REMOTE_FAILED", "FAILED")
    assert "no capacity" in failed["detail"]
    first, second = document["attempts"]
    assert first["candidate"] == second["candidate"], "an environment's failure is none of the backup's"


def test_a_corrupt_backup_is_never_tried_again(elsewhere: Elsewhere) -> None:
    elsewhere.write(stages="restore", retries=3)
    relation = max((elsewhere.bench.backups / "third").rglob("base/*/[0-9]*"), key=lambda path: path.stat().st_size)
    content = bytearray(relation.read_bytes())
    content[len(content) // 2] ^= 0xFF
    relation.write_bytes(content)
    document = elsewhere.bench.run()
    failed = stages_of(document)["restore"]
    assert failed["signature"] == "BACKUP_CHECKSUM_MISMATCH"
    assert failed["tries"] == 1
    names = [name for name in elsewhere.remote.log()["begun"] if name.endswith("restore-2")]
    assert names == []
    assert document["outcome"] == "RECOVERED_DEGRADED", "the next attempt took the next backup"


def test_a_failure_that_may_heal_is_begun_anew_under_the_next_number(elsewhere: Elsewhere) -> None:
    elsewhere.write(retries=2)
    elsewhere.remote.faults(fail={"provision": {"signature": "SANDBOX_FAILED", "times": 1}})
    document = elsewhere.bench.run()
    assert document["outcome"] == "RECOVERED", document
    assert [name[-1] for name in elsewhere.remote.log()["begun"]] == ["1", "2"]
    assert stages_of(document)["provision"]["tries"] == 2


@pytest.mark.parametrize("fault", ["throttle", "error", "reset", "deaf"])
def test_what_hinders_only_the_asking_heals(elsewhere: Elsewhere, fault: str) -> None:
    elsewhere.write()
    elsewhere.remote.faults(**{fault: 2})
    document = elsewhere.bench.run()
    assert document["outcome"] == "RECOVERED", document
    log = elsewhere.remote.log()
    assert list(log["begun"].values()) == [1]
    refused = [status for _, _, status in log["calls"] if status not in (200, 201)]
    assert len(refused) == (1 if fault == "deaf" else 2)


def test_the_tiers_time_ends_a_wait(elsewhere: Elsewhere) -> None:
    elsewhere.write(local=True, timeout="5s", seconds=600)
    begun = time.monotonic()
    document = elsewhere.bench.run()
    failed = stages_of(document)["provision"]
    assert failed["signature"] == "STAGE_TIMEOUT", failed
    assert 3 < failed["elapsed_seconds"] < 9
    assert time.monotonic() - begun < 120
    assert len(elsewhere.remote.log()["cancelled"]) == 1
    assert document["outcome"] == "RECOVERED_DEGRADED"


def test_the_tolerable_downtime_ends_a_wait(elsewhere: Elsewhere) -> None:
    elsewhere.write(timeout="10m", mtd="30m", seconds=600)
    text = elsewhere.bench.spec.read_text().replace("rto: 30m", "rto: 4s").replace("mtd: 30m", "mtd: 6s")
    elsewhere.bench.spec.write_text(text)
    document = elsewhere.bench.run()
    assert stages_of(document)["provision"]["signature"] == "BUDGET_EXHAUSTED", document


# -- lost and ended ----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("stage", ["provision", "restore", "validate"])
def test_a_lost_runner_is_followed_by_one_that_adopts_its_wait(elsewhere: Elsewhere, stage: str) -> None:
    elsewhere.write(stages=stage, seconds=6)
    lost = elsewhere.start()
    name = elsewhere.await_asked(stage)
    lost.kill()
    lost.wait(30)
    document = elsewhere.bench.run()
    assert document["outcome"] == "RECOVERED", document
    assert elsewhere.remote.log()["begun"] == {name: 1}
    found = stages_of(document)[stage]
    assert found["elapsed_seconds"] >= 6, "the time of the process that was lost counts: the environment went on"


def test_a_signal_ends_the_wait_there_too(elsewhere: Elsewhere) -> None:
    elsewhere.write(seconds=600)
    process = elsewhere.start()
    name = elsewhere.await_asked("provision")
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 128 + signal.SIGTERM
    assert elsewhere.remote.log()["cancelled"] == [name]
