"""Kinds of sandbox that other packages bring: known by name, judged by their own model, missed in plain words."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import jsonschema
import pytest
from ruamel.yaml import YAML

from airflow_dr_provider import custom_sandboxes
from airflow_dr_provider.domain.verdicts import StageName
from airflow_dr_provider.errors import ConfigurationError, SpecError
from airflow_dr_provider.sandboxes.base import is_remote, sandbox
from airflow_dr_provider.spec.loader import load_text, spec_digest, spec_from_snapshot, spec_snapshot
from airflow_dr_provider.spec.sandbox import sandbox_spec
from airflow_dr_provider.spec.schema import json_schema
from tests.support.remote_sandbox import KIND, install

TEXT = """\
version: 1
drill: orders
objectives: {rto: 30m, rpo: 1h, mtd: 4h}
source: {repository: {kind: basebackup, backups: ./backups, archive: ./archive}}
tiers:
  - {name: primary, role: staging, sandbox: SANDBOX, timeout: 5m}
"""
GOOD = f"{{kind: {KIND}, endpoint: 'http://127.0.0.1:1', seconds: 3}}"


def text(settings: str = GOOD) -> str:
    return TEXT.replace("SANDBOX", settings)


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    folder = install(tmp_path / "site")
    (folder / "acme_cloud-1.0.dist-info" / "entry_points.txt").write_text(
        f"[{custom_sandboxes.GROUP}]\n{KIND} = tests.support.remote_sandbox:AcmeSandbox\n"
        "absent = acme_no_such_module:Sandbox\nprocess = acme_no_such_module:Sandbox\nNot A Name = tests:x\n"
    )
    monkeypatch.setattr(sys, "path", [*sys.path, str(folder)])
    custom_sandboxes.custom_sandboxes.cache_clear()
    yield folder
    custom_sandboxes.custom_sandboxes.cache_clear()


def test_a_spec_may_name_it(installed: Path) -> None:
    spec = load_text(text(), source="spec", base=Path("/"))
    kept = spec.tiers[0].sandbox
    adapter = sandbox(KIND, kept, workdir=Path("/work"))
    assert is_remote(adapter, StageName.PROVISION)
    assert not is_remote(adapter, StageName.VALIDATE)
    assert spec_digest(spec_from_snapshot(spec_snapshot(spec))) == spec_digest(spec)
    assert sandbox_spec(kept.model_dump(mode="json")) == kept


def test_the_schema_knows_it(installed: Path) -> None:
    validator = jsonschema.Draft202012Validator(json_schema())
    yaml = YAML(typ="safe", pure=True)
    assert validator.is_valid(yaml.load(text()))
    assert not validator.is_valid(yaml.load(text("{kind: acme_clod}")))


def test_its_own_model_judges_the_keys(installed: Path) -> None:
    with pytest.raises(SpecError, match=r"spec:6: tiers\[0\]\.sandbox: secnds"):
        load_text(text(f"{{kind: {KIND}, endpoint: x, secnds: 3}}"), source="spec", base=Path("/"))


def test_a_name_that_nobody_brings_is_refused_with_those_that_are_known(installed: Path) -> None:
    with pytest.raises(SpecError, match=f"not a sandbox; known: process, absent, {KIND} .did you mean {KIND}"):
        load_text(text("{kind: acme_clod}"), source="spec", base=Path("/"))


def test_a_built_in_kind_outranks_it(installed: Path) -> None:
    spec = load_text(text("{kind: process}"), source="spec", base=Path("/"))
    assert type(sandbox("process", spec.tiers[0].sandbox, workdir=Path("/work"))).__name__ == "ProcessSandbox"


def test_one_that_cannot_be_imported_is_named(installed: Path) -> None:
    spec = load_text(text("{kind: absent}"), source="spec", base=Path("/"))
    with pytest.raises(ConfigurationError, match="acme-cloud can't be imported") as caught:
        sandbox("absent", spec.tiers[0].sandbox, workdir=Path("/work"))
    assert caught.value.code == "PROGRAMS_NOT_FOUND"


def test_a_kept_spec_reads_back_where_the_package_is_missing(
    installed: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    snapshot = spec_snapshot(load_text(text(), source="spec", base=Path("/")))
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry != str(installed)])
    custom_sandboxes.custom_sandboxes.cache_clear()
    kept = spec_from_snapshot(snapshot).tiers[0].sandbox
    with pytest.raises(ConfigurationError, match="isn't installed here"):
        sandbox(KIND, kept, workdir=Path("/work"))
    with pytest.raises(SpecError, match="not a sandbox"):
        load_text(text(), source="spec", base=Path("/"))
