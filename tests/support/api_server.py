"""Airflow's API server alone, on the loopback: what its page asks, asked over HTTP."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from airflow_dr_provider.demo.cluster import airflow_environment
from airflow_dr_provider.demo.scene import free_port

_PATIENCE_SECONDS = 120.0


class ApiServer:
    """One server on a migrated home, ended with everything that it started.

    :param home: AIRFLOW_HOME, its database made.
    """

    def __init__(self, home: Path, environment: dict[str, str]) -> None:
        port = free_port()
        self._address = f"http://127.0.0.1:{port}"
        self._environment = airflow_environment(home, home / "dags", port, environment)
        self._log = home / "api-server.log"
        self._token = ""
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> ApiServer:
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "airflow", "api-server"],
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        try:
            deadline = time.monotonic() + _PATIENCE_SECONDS
            while True:
                assert self._process.poll() is None, self.log[-2000:]
                assert time.monotonic() < deadline, self.log[-2000:]
                with contextlib.suppress(OSError, ValueError):
                    self._token = self.ask("/auth/token")[1]["access_token"]
                    return self
                time.sleep(0.2)
        except BaseException:
            self.__exit__()
            raise

    def __exit__(self, *_: object) -> None:
        if self._process is None:
            return
        for number in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(5)

    @property
    def log(self) -> str:
        """What the server has said so far."""
        return self._log.read_text(errors="replace")

    def ask(self, path: str, body: dict[str, Any] | None = None, *, method: str | None = None) -> tuple[int, Any]:
        """One request; status and document."""
        headers = {"Content-Type": "application/json", **({"Authorization": f"Bearer {self._token}"} if self._token else {})}
        data = json.dumps(body).encode() if body is not None else None
        request = urllib.request.Request(self._address + path, data=data, headers=headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as response:
                return response.status, json.loads(response.read() or b"null")
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read() or b"null")
