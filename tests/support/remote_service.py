"""A remote environment for tests: a process of its own with an HTTP API that does steps over time, and does them really.

``python -m tests.support.remote_service PORT_FILE`` serves on a port of the loopback until it is ended.

- ``PUT /steps/<name>`` begins a step, or finds it there; its body says how long it takes and, for a real one, what to do: make
  a sandbox, restore a backup into it, remove it. What is done is done in this process, by the local sandbox's machinery.
- ``GET /steps?names=a,b`` answers how far steps are; ``DELETE /steps/<name>`` ends one.
- ``PUT /faults`` lets the next calls be throttled, fail or be cut off, or lets a stage's steps fail.
- ``PUT /ready`` says when steps without a time of their own get ready.
- ``GET /log`` tells what was asked: the tests' witness.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

REASONS = {200: "OK", 201: "Created", 404: "Not Found", 429: "Too Many Requests", 500: "Internal Server Error"}


class Service:
    """The environment's state, in memory."""

    def __init__(self) -> None:
        self.steps: dict[str, dict[str, Any]] = {}
        self.faults: dict[str, Any] = {}
        self.begun: Counter[str] = Counter()
        self.asked: Counter[str] = Counter()
        self.cancelled: list[str] = []
        self.calls: list[tuple[float, str, int]] = []
        self._works: set[asyncio.Task[None]] = set()

    # -- calls ---------------------------------------------------------------------------------------------------------
    def answer(self, method: str, target: str, body: Any) -> tuple[int, Any, dict[str, str]]:
        """Status, body and headers; the status 0 stands for a connection that is cut off."""
        parts = urlsplit(target)
        if parts.path == "/faults":
            self.faults.update(body)
            return 200, {}, {}
        if parts.path == "/ready":
            for name, at in body.items():
                self.steps[name]["at"] = at
            return 200, {}, {}
        if parts.path == "/log":
            return 200, self._log(), {}
        refusal = self._refusal()
        if refusal is not None:
            return refusal
        if parts.path == "/steps":
            names = parse_qs(parts.query).get("names", [""])[0].split(",")
            self.asked.update(names)
            return 200, {name: self._state(name) for name in names if name in self.steps}, {}
        name = parts.path.removeprefix("/steps/")
        if method == "PUT":
            return self._begin(name, body)
        if method == "DELETE":
            return self._cancel(name)
        return 404, {"message": "no such thing"}, {}

    def _refusal(self) -> tuple[int, Any, dict[str, str]] | None:
        for fault, status in (("throttle", 429), ("error", 500), ("reset", 0)):
            if self.faults.get(fault, 0) > 0:
                self.faults[fault] -= 1
                headers = {"Retry-After": str(self.faults.get("retry_after", 0))} if status == 429 else {}
                return status, {"message": fault}, headers
        return None

    def _begin(self, name: str, body: dict[str, Any]) -> tuple[int, Any, dict[str, str]]:
        if name in self.steps:
            return 200, self._state(name), {}
        self.begun[name] += 1
        failing = self.faults.get("fail", {}).get(body["stage"])
        step = self.steps[name] = {**body, "state": "waiting", "detail": "under way", "begun": time.time(), "ready_at": None}
        if isinstance(failing, dict):
            step |= {"seconds": 0.0, "failing": failing}
            if "times" in failing:
                failing["times"] -= 1
                if failing["times"] <= 0:
                    del self.faults["fail"][body["stage"]]
        work = asyncio.create_task(self._work(step))
        step["task"] = work
        self._works.add(work)
        work.add_done_callback(self._works.discard)
        if self.faults.get("deaf", 0) > 0:  # it was heard, and the answer is lost
            self.faults["deaf"] -= 1
            return 0, {}, {}
        return 201, self._state(name), {}

    def _cancel(self, name: str) -> tuple[int, Any, dict[str, str]]:
        step = self.steps.get(name)
        if step is None:
            return 404, {"message": "no such step"}, {}
        if step["state"] == "waiting":
            self.cancelled.append(name)
            step["task"].cancel()
            step |= {"state": "failed", "detail": "cancelled"}
        return 200, self._state(name), {}

    def _state(self, name: str) -> dict[str, Any]:
        step = self.steps[name]
        if step["state"] == "waiting" and "at" in step and time.time() >= step["at"]:
            step |= {"state": "ready", "ready_at": step["at"], "detail": "done"}
        if step["state"] == "ready":
            step.setdefault("told_at", time.time())
        return {"state": step["state"], "detail": step["detail"], "signature": step.get("signature")}

    def _log(self) -> dict[str, Any]:
        return {
            "begun": self.begun,
            "asked": self.asked,
            "cancelled": self.cancelled,
            "calls": self.calls,
            "ready": {name: step["ready_at"] for name, step in self.steps.items()},
            "told": {name: step.get("told_at") for name, step in self.steps.items()},
        }

    # -- work ----------------------------------------------------------------------------------------------------------
    async def _work(self, step: dict[str, Any]) -> None:
        try:
            if step.get("seconds") is None:
                return  # until somebody says when
            await asyncio.sleep(step.get("seconds", 0.0))
            if "failing" in step:
                step |= {"state": "failed", "signature": step["failing"].get("signature"), "detail": "no capacity"}
                return
            if step.get("real"):
                await really(step["stage"], step["real"])
            step |= {"state": "ready", "detail": "done", "ready_at": time.time()}
        except Exception as error:
            step |= {"state": "failed", "signature": getattr(error, "code", None), "detail": f"{type(error).__name__}: {error}"}

    # -- HTTP ----------------------------------------------------------------------------------------------------------
    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, kept alive (RFC 9112)."""
        try:
            while line := await reader.readline():
                method, target, _ = line.decode().split()
                length = 0
                while (header := await reader.readline()).strip():
                    name, _, value = header.decode().partition(":")
                    length = int(value) if name.lower() == "content-length" else length
                body = json.loads(await reader.readexactly(length)) if length else None
                status, answer, headers = self.answer(method, target, body)
                if not target.startswith(("/log", "/faults", "/ready")):
                    self.calls.append((time.time(), method, status))
                if status == 0:
                    writer.transport.abort()
                    return
                data = json.dumps(answer).encode()
                lines = [f"HTTP/1.1 {status} {REASONS[status]}", f"Content-Length: {len(data)}"]
                lines += [f"{name}: {value}" for name, value in headers.items()]
                writer.write("\r\n".join((*lines, "", "")).encode() + data)
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()


async def really(stage: str, what: dict[str, Any]) -> None:
    """Do a step: make a sandbox, restore a backup into it, or remove it."""
    from airflow_dr_provider.domain.coordinate import RestoreCoordinate
    from airflow_dr_provider.repositories.base import repository
    from airflow_dr_provider.sandboxes.process import ProcessSandbox
    from airflow_dr_provider.spec.repository import REPOSITORY_KINDS
    from airflow_dr_provider.spec.sandbox import ProcessSandboxSpec

    sandbox = ProcessSandbox(ProcessSandboxSpec(kind="process", isolation="preferred"), workdir=Path(what["workdir"]))
    handle = sandbox.handle(what["name"])
    if stage == "teardown":
        left = await sandbox.destroy(handle)
        if left:
            raise RuntimeError("; ".join(left))
        return
    coordinate = RestoreCoordinate.model_validate(what["coordinate"])
    handle = await sandbox.provision(handle, coordinate)
    if stage != "restore":
        return
    settings = REPOSITORY_KINDS[what["repository"]["kind"]].model_validate(what["repository"])
    source = repository(what["repository"]["kind"], settings, base=Path("/"))
    catalog = await source.catalog()
    report = await source.restore(catalog, coordinate, sandbox.data_directory(handle))
    if report.faults:
        raise UnusableBackupError(report.faults[0].code, report.faults[0].detail)
    await source.fetch_wal(catalog, coordinate, sandbox.wal_directory(handle))
    await sandbox.recover(handle, coordinate)


class UnusableBackupError(Exception):
    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code


async def main(port_file: Path) -> None:
    """Serve until SIGTERM."""
    service = Service()
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    server = await asyncio.start_server(service.serve, "127.0.0.1", 0, backlog=1024)
    new = port_file.with_suffix(".new")
    new.write_text(str(server.sockets[0].getsockname()[1]))
    new.rename(port_file)
    await ended.wait()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
