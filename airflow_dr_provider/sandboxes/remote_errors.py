"""What a refused or unanswered call to an environment's HTTP API means, for adapters of remote sandboxes."""

from __future__ import annotations

from airflow_dr_provider.errors import SandboxError

_TRANSIENT = frozenset({408, 425, 500, 502, 503, 504})


def refused(account: str, status: int, words: str = "", *, retry_after: str | None = None) -> SandboxError:
    """The error for an answer that isn't success.

    Too many requests is ``REMOTE_THROTTLED``; a server's own error is ``REMOTE_UNREACHABLE``, for the same call may work a
    moment later; everything else is a refusal that another try won't change.

    :param account: who was asked.
    :param words: what the answer says, without secrets.
    :param retry_after: the header of that name (RFC 9110, 10.2.3); only its form in seconds is read.
    """
    said = f": {' '.join(words.split())[:300]}" if words else ""
    facts = {"status": status, **({"retry_after": float(retry_after)} if retry_after and retry_after.isdigit() else {})}
    if status == 429:
        return SandboxError(f"{account} was asked too often{said}.", code="REMOTE_THROTTLED", facts=facts)
    if status in _TRANSIENT:
        return SandboxError(
            f"{account} answers with an error of its own ({status}){said}.", code="REMOTE_UNREACHABLE", facts=facts
        )
    return SandboxError(f"{account} refuses ({status}){said}.", code="REMOTE_FAILED", facts=facts)


def unanswered(account: str, error: BaseException) -> SandboxError:
    """The error for a call without an answer: refused, reset, timed out, a name that isn't found."""
    return SandboxError(
        f"{account} does not answer ({type(error).__name__}{f': {error}' if str(error) else ''}).", code="REMOTE_UNREACHABLE"
    )
