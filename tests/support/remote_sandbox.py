"""A kind of sandbox that another package would bring: its steps are done by ``tests.support.remote_service``."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
from pydantic import BaseModel, ConfigDict

from airflow_dr_provider.domain.coordinate import RestoreCoordinate
from airflow_dr_provider.domain.reports import SandboxHandle
from airflow_dr_provider.domain.verdicts import StageName
from airflow_dr_provider.domain.waiting import Account, StepProgress, StepState
from airflow_dr_provider.sandboxes.process import ProcessSandbox
from airflow_dr_provider.sandboxes.remote_errors import refused, unanswered
from airflow_dr_provider.spec.sandbox import ProcessSandboxSpec

KIND = "acme_cloud"
POINTS = f"[airflow_dr_provider.sandboxes]\n{KIND} = tests.support.remote_sandbox:AcmeSandbox\n"


class AcmeSettings(BaseModel):
    """The keys of a tier's ``sandbox``.

    :param remote: stages that the service does.
    :param seconds: how long it takes for each.
    :param repository: where the service finds the backups, for a restore of its own.
    """

    model_config = ConfigDict(extra="forbid")

    kind: str
    endpoint: str
    remote: tuple[StageName, ...] = (StageName.PROVISION,)
    seconds: float = 0.5
    poll_seconds: float = 0.2
    calls_per_second: float = 50.0
    batch: int = 1
    repository: dict[str, Any] | None = None


class AcmeSandbox(ProcessSandbox):
    """The local sandbox's machinery, with steps that somebody else does."""

    Settings = AcmeSettings

    def __init__(self, settings: AcmeSettings, *, workdir: Path) -> None:
        super().__init__(ProcessSandboxSpec(kind="process"), workdir=workdir)
        self._own, self._folder = settings, workdir
        self.remote = frozenset(settings.remote)
        self.poll_seconds = settings.poll_seconds
        self.account = Account(key=settings.endpoint, calls_per_second=settings.calls_per_second, batch=settings.batch)
        self._client: httpx.AsyncClient | None = None

    def handle(self, name: str) -> SandboxHandle:
        return super().handle(name).model_copy(update={"kind": KIND})

    async def begin(
        self, stage: StageName, handle: SandboxHandle, coordinate: RestoreCoordinate | None, *, number: int
    ) -> SandboxHandle:
        name = f"{handle.name}-{stage.value}-{number}"
        real = {
            "name": handle.name,
            "workdir": str(self._folder),
            "repository": self._own.repository,
            "coordinate": coordinate.model_dump(mode="json") if coordinate is not None else None,
        }
        doing = stage is not StageName.VALIDATE
        body = {"stage": stage.value, "seconds": self._own.seconds, **({"real": real} if doing else {})}
        await self._call("PUT", f"/steps/{quote(name)}", body)
        return handle.model_copy(update={"details": {**handle.details, "step": name}})

    async def poll(self, stage: StageName, handles: Sequence[SandboxHandle]) -> Mapping[str, StepProgress]:
        names = {handle.details["step"]: handle.name for handle in handles}
        answers = await self._call("GET", f"/steps?names={quote(','.join(names), safe=',')}")
        return {
            names[name]: StepProgress(state=StepState(said["state"]), detail=said["detail"], signature=said["signature"])
            for name, said in answers.items()
        }

    async def cancel(self, stage: StageName, handle: SandboxHandle) -> None:
        await self._call("DELETE", f"/steps/{quote(handle.details['step'])}")

    async def close(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    async def _call(self, method: str, path: str, body: Any = None) -> Any:
        if self._client is None:
            self._client = httpx.AsyncClient(base_url=self._own.endpoint, timeout=10, trust_env=False)
        try:
            answer = await self._client.request(method, path, json=body)
        except httpx.HTTPError as error:
            raise unanswered(self.account.key, error) from error
        if answer.status_code >= 400:
            raise refused(self.account.key, answer.status_code, answer.text, retry_after=answer.headers.get("Retry-After"))
        return answer.json()


# -- for tests ---------------------------------------------------------------------------------------------------------
def install(folder: Path) -> Path:
    """Lay the package down as pip would leave it; the folder to be put on PYTHONPATH or ``sys.path``."""
    info = folder / "acme_cloud-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-cloud\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(POINTS)
    return folder


class Remote:
    """The service, as a test sees it."""

    def __init__(self, port: int) -> None:
        self.endpoint = f"http://127.0.0.1:{port}"

    def log(self) -> dict[str, Any]:
        """What it was asked so far."""
        found: dict[str, Any] = self._call("GET", "/log")
        return found

    def faults(self, **faults: Any) -> None:
        """Let the next calls, or a stage's steps, fail."""
        self._call("PUT", "/faults", faults)

    def begin(self, name: str, **body: Any) -> None:
        """Begin a step."""
        self._call("PUT", f"/steps/{name}", body)

    def ready(self, moments: dict[str, float]) -> None:
        """Say when steps without a time of their own get ready, in seconds since 1970."""
        self._call("PUT", "/ready", moments)

    def _call(self, method: str, path: str, body: Any = None) -> Any:
        data = json.dumps(body).encode() if body is not None else None
        request = urllib.request.Request(self.endpoint + path, data=data, method=method)
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)


@contextlib.contextmanager
def service(folder: Path) -> Iterator[Remote]:
    """The service in a process of its own, for a block."""
    port_file = folder / "remote.port"
    process = subprocess.Popen([sys.executable, "-m", "tests.support.remote_service", str(port_file)], cwd=folder)
    try:
        deadline = time.monotonic() + 60
        while not port_file.exists():
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("the remote service did not start")
            time.sleep(0.02)
        yield Remote(int(port_file.read_text()))
    finally:
        process.terminate()
        process.wait(30)
        port_file.unlink(missing_ok=True)
