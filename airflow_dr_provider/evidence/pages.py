"""A run as a page of plain HTML: outcome, attempts, stages, checks, and why the chain moved.

Everything that is shown goes through :func:`_e`; there is no script, and nothing is loaded from anywhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

_STYLE = """
:root{color-scheme:light dark;--line:#8884;--soft:#8881;--good:#1a7f37;--warn:#9a6700;--bad:#cf222e;--dim:#6e7781}
@media(prefers-color-scheme:dark){:root{--good:#3fb950;--warn:#d29922;--bad:#f85149;--dim:#9198a1}}
body{font:14px/1.5 system-ui,sans-serif;margin:0 auto;padding:1.5rem;max-width:70rem}
h1{font-size:1.35rem;margin:0 0 .25rem}h2{font-size:1.05rem;margin:1.75rem 0 .5rem}h3{font-size:1rem;margin:1.25rem 0 .25rem}
table{border-collapse:collapse;width:100%;margin:.25rem 0}th,td{text-align:left;vertical-align:top;padding:.3rem .75rem .3rem 0;
border-bottom:1px solid var(--line);overflow-wrap:anywhere}th{font-weight:600;color:var(--dim);white-space:nowrap}
td.n{white-space:nowrap;font-variant-numeric:tabular-nums}
table.s td:first-child{width:13rem}table.s td:nth-child(2){width:9rem}
td code{white-space:nowrap}
code,pre{font:12.5px/1.5 ui-monospace,monospace}
pre{background:var(--soft);padding:.75rem;overflow:auto;white-space:pre-wrap}.dim{color:var(--dim)}
.PASSED,.RECOVERED,.met{color:var(--good)}.COULD_NOT_VERIFY,.RECOVERED_DEGRADED{color:var(--warn)}
.FAILED,.MANUAL_TRIAGE,.missed{color:var(--bad)}b.o{font-size:1.15rem}ul{margin:.25rem 0;padding-left:1.25rem}
details{margin:.25rem 0}summary{cursor:pointer;color:var(--dim)}
"""


def record_page(record: dict[str, Any], *, notices: Sequence[dict[str, Any]] = (), intact: bool = True, here: str = "") -> str:
    """The page of a record, or of what is known of a run that goes on.

    :param notices: what was sent to whom.
    :param intact: whether the log's digests fit.
    :param here: the page's own address, without a slash at its end, for the links to logs and to the JSON.
    """
    outcome = str(record.get("outcome") or "under way")
    parts = [f'<h1>{_e(record["drill"])}</h1><p class="dim">run <code>{_e(record["run_id"])}</code>{_times(record)}</p>']
    parts.append(f'<p><b class="o {_e(outcome)}">{_e(outcome)}</b>{_exit_code(record)}</p>')
    if not intact:
        parts.append("<p class=\"FAILED\"><b>The log was changed: its digests don't fit. Don't rely on this record.</b></p>")
    error = record.get("error")
    told = [*record.get("reasons", ()), *([f"{error['signature']}: {error['message']}"] if error else [])]
    parts.append(_list(dict.fromkeys(str(line) for line in told)))
    parts.append(_facts(record))
    parts.append(_moves(record.get("transitions", ())))
    parts += [_attempt(attempt, here) for attempt in record.get("attempts", ())]
    parts.append(
        _section("Findings", [[f["subject"], f.get("signature") or "", f["detail"]] for f in record.get("findings", ())])
    )
    parts.append(
        _section(
            "Told", [[n["at"], n["event"], n["channel"], "sent" if n["sent"] else f"NOT sent: {n['detail']}"] for n in notices]
        )
    )
    parts.append(f'<p><a href="{_e(here)}/record.json">The record as JSON</a></p>')
    return _document(f"{record['drill']}: {outcome}", "".join(parts))


def log_page(attempt_id: str, text: str | None, *, record: str) -> str:
    """The page of a restored server's log.

    :param record: the address of the run's page.
    """
    shown = f"<pre>{_e(text)}</pre>" if text else "<p>None was kept: no server was started, or it isn't removed yet.</p>"
    back = f'<p><a href="{_e(record)}">The record</a></p>'
    return _document(
        f"log of {attempt_id}",
        f"<h1>The end of the restored server's log</h1><p><code>{_e(attempt_id)}</code></p>{shown}{back}",
    )


def message_page(title: str, text: str) -> str:
    """A page that says one thing."""
    return _document(title, f"<h1>{_e(title)}</h1><p>{_e(text)}</p>")


def _document(title: str, body: str) -> str:
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{_e(title)}</title><style>{_STYLE}</style></head><body>{body}</body></html>"
    )


def _e(value: Any) -> str:
    return escape("" if value is None else str(value), quote=True)


def _times(record: dict[str, Any]) -> str:
    opened, closed = record.get("opened_at"), record.get("closed_at")
    return f", {_e(opened)[:19]}" + (f" to {_e(closed)[:19]} UTC" if closed else " UTC, not closed yet") if opened else ""


def _exit_code(record: dict[str, Any]) -> str:
    return f' <span class="dim">exit code {_e(record["exit_code"])}</span>' if record.get("exit_code") is not None else ""


def _list(lines: Iterable[Any]) -> str:
    items = "".join(f"<li>{_e(line)}</li>" for line in lines)
    return f"<ul>{items}</ul>" if items else ""


def _facts(record: dict[str, Any]) -> str:
    rows: list[tuple[str, str]] = []
    if record.get("tier"):
        rows.append(("Carried by", f"tier {_e(record['tier'])}, backup <code>{_e(record['backup'])}</code>"))
    target = record.get("target")
    if target:
        time = f", last commit {_e(target['last_commit'])}" if target.get("last_commit") else ""
        note = f' <span class="dim">{_e(target["note"])}</span>' if target.get("note") else ""
        rows.append(("Target", f"<code>{_e(target['lsn'])}</code> on timeline {_e(target['timeline'])}{time}{note}"))
    achieved, objectives = record.get("achieved") or {}, record.get("objectives") or {}
    for name in ("rpo", "rto") if record.get("tier") else ():
        rows.append((name.upper(), _objective(achieved.get(f"{name}_seconds"), objectives.get(f"{name}_seconds"))))
    rows += _people(record)
    return (
        "<table>" + "".join(f"<tr><th>{_e(name)}</th><td>{value}</td></tr>" for name, value in rows) + "</table>"
        if rows
        else ""
    )


def _people(record: dict[str, Any]) -> list[tuple[str, str]]:
    rows: list[tuple[str, str]] = []
    request, answer = record.get("request") or {}, record.get("triage")
    if request.get("reason"):
        rows.append(("Reason", _e(request["reason"])))
    if request.get("target"):
        rows.append(("Asked for", _e(f"{request['target']['kind']} {request['target']['value']}".strip())))
    if record.get("not_tried"):
        rows.append(("Not tried", f"{_e(', '.join(record['not_tried']))}, by request"))
    if answer:
        said = ": ".join(str(part) for part in (answer["by"], answer["reason"]) if part)
        rows.append(("Triage", f"<b>{_e(answer['answer'])}</b> {_e(said)} <span class='dim'>{_e(answer['note'])}</span>"))
    for injected in record.get("injected", ()):
        rows.append(("Injected", _e(f"{injected['fault']} on {injected['tier']}: {injected.get('detail', '')}")))
    rows += [("Left over", f'<span class="FAILED">{_e(left)}</span>') for left in record.get("leftovers", ())]
    for kept in record.get("kept", ()):
        where = f"socket {kept['address']}, port {kept['port']}, credentials in {kept['credentials']}"
        rows.append(("Kept", f"{_e(kept['name'])} until {_e(kept['until'])[:19]} UTC<br><code>{_e(where)}</code>"))
    return rows


def _objective(got: float | None, wanted: float | None) -> str:
    if got is None or wanted is None:
        return "unknown"
    word = "met" if got <= wanted else "missed"
    return f'{got:.1f} s of {wanted:g} s: <b class="{word}">{word}</b>'


def _moves(moves: Iterable[dict[str, Any]]) -> str:
    rows = "".join(
        f'<tr><td class="n dim">{_e(move["at"])[11:19]}</td><td class="n">{_e(move["from"])} → {_e(move["to"])}</td>'
        f"<td><code>{_e(move['reason'])}</code></td><td>{_e(move['detail'])}</td></tr>"
        for move in moves
    )
    return f"<h2>Why the chain moved</h2><table>{rows}</table>" if rows else ""


def _attempt(attempt: dict[str, Any], here: str) -> str:
    name = attempt["tier"] + (f"#{attempt['number']}" if attempt.get("number", 1) > 1 else "")
    verdict = str(attempt["verdict"])
    log = f"{here}/attempts/{str(attempt['id']).rpartition('.')[2]}/log"
    head = (
        f'<h2>{_e(name)} <b class="{_e(verdict)}">{_e(verdict)}</b></h2>'
        f'<p>backup <code>{_e(attempt["candidate"] or "none")}</code> <a href="{_e(log)}">server\'s log</a></p>'
    )
    if attempt.get("signature"):
        head += f"<p><code>{_e(attempt['signature'])}</code> {_e(attempt['detail'])}</p>"
    stages = "".join(
        f'<tr><td>{_e(stage["name"])}</td><td class="n {_e(stage["verdict"])}">{_e(stage["verdict"])}</td>'
        f'<td class="n">{stage["elapsed_seconds"]:.2f} s</td><td>{_e(stage["detail"])}</td></tr>'
        for stage in attempt.get("stages", ())
    )
    checks = "".join(
        f'<tr><td>{_e(check["name"])}</td><td class="n {_e(check["verdict"])}">{_e(check["verdict"])}</td>'
        f"<td>{_e(check['detail'])}</td></tr>"
        for check in attempt.get("checks", ())
    )
    found = f'<details open><summary>Checks</summary><table class="s">{checks}</table></details>' if checks else ""
    return f'{head}<table class="s">{stages}</table>{found}'


def _section(title: str, rows: Sequence[Sequence[Any]]) -> str:
    if not rows:
        return ""
    cells = "".join("<tr>" + "".join(f"<td>{_e(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<h2>{_e(title)}</h2><table>{cells}</table>"
