"""What this package adds to Airflow's page."""

from __future__ import annotations

from typing import Any

from airflow.plugins_manager import AirflowPlugin

from airflow_dr_provider.links.drill import PREFIX


class LazyPages:
    """The pages, made when the first one is asked for: every Airflow process loads plugins, one serves pages."""

    def __init__(self) -> None:
        self._app: Any = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Pass a request on (ASGI)."""
        if self._app is None:
            from airflow_dr_provider.plugins.pages import make_app

            self._app = make_app()
        await self._app(scope, receive, send)


class DrillPlugin(AirflowPlugin):
    """The pages of drill runs, and a tab with a run's page beside Airflow's own."""

    name = "airflow_dr"
    fastapi_apps = [{"app": LazyPages(), "url_prefix": PREFIX, "name": "Disaster recovery drills"}]
    external_views = [
        {
            "name": "Drill",
            "href": f"{PREFIX}/dags/{{DAG_ID}}/runs/{{RUN_ID}}",
            "destination": "dag_run",
            "url_route": "drill",
        }
    ]
