"""The pages of drill runs, below Airflow's own address: ``/dr/dags/<dag>/runs/<run>``.

Airflow guards nothing that a plugin mounts, so every page asks for what Airflow's own page of a run asks for: a user who may
read the runs of that DAG. A run's id in the state store begins with its DAG's, so nobody reads another DAG's runs here.
"""

from __future__ import annotations

from typing import Any

from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity
from airflow.api_fastapi.core_api.security import requires_access_dag
from fastapi import Depends, FastAPI, Request
from fastapi.responses import HTMLResponse, JSONResponse, Response

from airflow_dr_provider.errors import DrillError
from airflow_dr_provider.evidence.pages import log_page, message_page, record_page
from airflow_dr_provider.evidence.record import unfinished_record
from airflow_dr_provider.hooks.drill import DrillHook
from airflow_dr_provider.links.drill import PREFIX, record_path
from airflow_dr_provider.state.people import People

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'self'; base-uri 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}
_READ = [Depends(requires_access_dag("GET", DagAccessEntity.RUN))]


def make_app() -> FastAPI:
    """The pages as an application to mount."""
    app = FastAPI(title="Disaster recovery drills", docs_url=None, redoc_url=None, openapi_url=None)

    @app.get("/dags/{dag_id}/runs/{run_id}", dependencies=_READ)
    def record(request: Request, dag_id: str, run_id: str) -> Response:
        found = _found(dag_id, run_id)
        if isinstance(found, Response):
            return found
        page = record_page(
            found["record"], notices=found["notices"], intact=found["intact"], here=_here(request, dag_id, run_id)
        )
        return HTMLResponse(page, headers=HEADERS)

    @app.get("/dags/{dag_id}/runs/{run_id}/record.json", dependencies=_READ)
    def record_as_json(dag_id: str, run_id: str) -> Response:
        found = _found(dag_id, run_id)
        return found if isinstance(found, Response) else JSONResponse(found["record"], headers=HEADERS)

    @app.get("/dags/{dag_id}/runs/{run_id}/attempts/{rung}/log", dependencies=_READ)
    def log(request: Request, dag_id: str, run_id: str, rung: int) -> Response:
        identifier = f"{dag_id}:{run_id}.{rung}"
        try:
            with DrillHook().services() as services:
                text = People(services.store).log(identifier)
        except DrillError as error:
            return _unreadable(error)
        return HTMLResponse(log_page(identifier, text, record=_here(request, dag_id, run_id)), headers=HEADERS)

    return app


def _here(request: Request, dag_id: str, run_id: str) -> str:
    """The address of a run's page as this server is reached, which may be below a folder of a proxy's."""
    mounted = str(request.scope.get("root_path", "")) or PREFIX
    return mounted.removesuffix(PREFIX) + record_path(dag_id, run_id)


def _found(dag_id: str, run_id: str) -> dict[str, Any] | Response:
    identifier = f"{dag_id}:{run_id}"
    try:
        with DrillHook().services() as services:
            store = services.store
            run = store.run(identifier)
            if run is None:
                text = (
                    f"The state store knows no run {identifier}: it never opened, or tasks and web server use different stores."
                )
                return HTMLResponse(message_page("No such drill run", text), status_code=404, headers=HEADERS)
            return {
                "record": run.record if run.record is not None else unfinished_record(store, run),
                "notices": [notice.model_dump(mode="json") for notice in People(store).notices(identifier)],
                "intact": store.broken_link(identifier) is None,
            }
    except DrillError as error:
        return _unreadable(error)


def _unreadable(error: DrillError) -> Response:
    return HTMLResponse(message_page("The state store can't be read", error.message), status_code=503, headers=HEADERS)
