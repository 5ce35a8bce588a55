"""The gate on whole drills: what differs from the reference fails, and smoke tests have no power."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.support.drills import Bench, Repository

pytestmark = pytest.mark.postgres


def checks(document: dict[str, Any]) -> dict[str, tuple[str, str | None]]:
    return {check["name"]: (check["verdict"], check["signature"]) for check in document["attempts"][0]["checks"]}


def captured(bench: Bench, repository: Repository) -> dict[str, Any]:
    """A reference file of production, and a spec that compares with it."""
    bench.environment["AIRFLOW_CONN_ORDERS_RO"] = repository.production.uri
    bench.write(source="production_conn_id: orders_ro\n  reference: {file: ./reference.json}")
    done = bench.call("reference", "capture", str(bench.spec))
    assert done.returncode == 0, done.stderr
    reference: dict[str, Any] = json.loads((bench.folder / "reference.json").read_text())
    return reference


def write(bench: Bench, reference: dict[str, Any]) -> None:
    (bench.folder / "reference.json").write_text(json.dumps(reference))


def objects(reference: dict[str, Any]) -> list[dict[str, Any]]:
    database = next(database for database in reference["databases"] if database["name"] == "postgres")
    found: list[dict[str, Any]] = database["objects"]
    return found


def test_a_captured_reference_agrees(bench: Bench, repository: Repository) -> None:
    captured(bench, repository)
    document = bench.run()
    assert document["outcome"] == "RECOVERED", checks(document)
    assert {name: told for name, told in checks(document).items() if told[0] != "PASSED"} == {}


@pytest.mark.parametrize(
    ("kind", "part", "check", "signature"),
    [
        ("index", "orders_by_customer", "indexes", "INDEX_MISSING"),
        ("view", "revenue", "schema_drift", "SCHEMA_DRIFT"),
        ("column", "orders.amount", "schema_drift", "SCHEMA_DRIFT"),
        ("constraint", "orders", "schema_drift", "SCHEMA_DRIFT"),
        ("sequence", "order_numbers", "schema_drift", "SCHEMA_DRIFT"),
    ],
)
def test_what_the_reference_has_and_the_copy_lacks(
    bench: Bench, repository: Repository, kind: str, part: str, check: str, signature: str
) -> None:
    reference = captured(bench, repository)
    known = next(item for item in objects(reference) if item["kind"] == kind and part in item["name"])
    objects(reference).append({**known, "name": f"{known['name']}_lost", "changed_by": 700, "definition_changed_by": 700})
    write(bench, reference)
    document = bench.run()
    assert checks(document)[check] == ("FAILED", signature)
    assert document["outcome"] == "MANUAL_TRIAGE"


def test_another_definition_of_an_index(bench: Bench, repository: Repository) -> None:
    reference = captured(bench, repository)
    index = next(item for item in objects(reference) if item["kind"] == "index" and "orders_by_customer" in item["name"])
    index["definition"] = index["definition"].replace("placed_at", "amount")
    write(bench, reference)
    assert checks(bench.run())["indexes"] == ("FAILED", "INDEX_DRIFT")


def test_rows_that_are_gone(bench: Bench, repository: Repository) -> None:
    reference = captured(bench, repository)
    reference["lsn"] = "0/1000000"
    database = next(database for database in reference["databases"] if database["name"] == "postgres")
    orders = next(table for table in database["tables"] if table["name"].endswith("orders"))
    orders["rows"] *= 3
    write(bench, reference)
    assert checks(bench.run())["row_counts"] == ("FAILED", "ROW_COUNT_DROPPED")


@pytest.mark.parametrize(
    ("statement", "verdict"),
    [
        ("SELECT false", "FAILED"),
        ("SELECT NULL::boolean", "FAILED"),
        ("SELECT true WHERE false", "FAILED"),
        ("SELECT count(*) > 0 FROM nowhere", "FAILED"),
        ("SELECT 1", "COULD_NOT_VERIFY"),
        ("SELEC true", "COULD_NOT_VERIFY"),
        ("SELECT true; SELECT true", "COULD_NOT_VERIFY"),
        ("SELECT pg_sleep(60) IS NOT NULL", "COULD_NOT_VERIFY"),
    ],
)
def test_smoke_answers(bench: Bench, statement: str, verdict: str) -> None:
    document = smoke(bench, statement)
    assert checks(document)["smoke:asked"][0] == verdict


@pytest.mark.parametrize(
    "statement",
    [
        "COPY (SELECT 1) TO PROGRAM 'touch {witness}'",
        "SELECT pg_read_file('PG_VERSION') IS NOT NULL",
        "SELECT lo_export(lo_create(0), '{witness}') IS NOT NULL",
        "DELETE FROM orders RETURNING true",
        "CREATE TABLE mine AS SELECT true",
        "SET ROLE postgres",
    ],
)
def test_smoke_tests_have_no_power(bench: Bench, statement: str) -> None:
    witness = bench.folder / "witness"
    document = smoke(bench, statement.format(witness=witness))
    assert checks(document)["smoke:asked"][0] != "PASSED"
    assert not witness.exists()


def smoke(bench: Bench, statement: str) -> dict[str, Any]:
    """A run with one smoke test, on one tier that tries one backup."""
    text = bench.spec.read_text()
    bench.spec.write_text(
        text[: text.index("smoke:")]
        + f"selection: {{candidates: 1}}\nsmoke:\n  - {{name: asked, timeout: 2s, sql: {json.dumps(statement)}}}\n"
    )
    return bench.run()
