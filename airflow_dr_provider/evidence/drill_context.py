"""The drill's context as a header that can't be made up: signed with a key that lives as long as the signing.

Whoever holds a routing manifest verifies with its public key, and nobody, this package included, can sign another header
for it. No secret has to be kept or handed over.
"""

from __future__ import annotations

import base64
import binascii
import json
from datetime import datetime

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from pydantic import ValidationError

from airflow_dr_provider.domain.routing_manifest import DrillContext

_LONGEST = 4096


def signed_context(context: DrillContext) -> tuple[str, str]:
    """The header's value, and the public key that verifies it."""
    content = json.dumps(context.model_dump(mode="json"), sort_keys=True, separators=(",", ":")).encode()
    key = Ed25519PrivateKey.generate()
    header = f"{_encoded(content)}.{_encoded(key.sign(content))}"
    return header, base64.b64encode(key.public_key().public_bytes_raw()).decode()


def verified_context(header: str, public_key: str, *, now: datetime) -> DrillContext | None:
    """The context of a header.

    :param public_key: from the routing manifest.
    :return: None for a header that isn't of this manifest, was changed, or whose sandbox's lease is over.
    """
    if len(header) > _LONGEST:
        return None
    try:
        content, signature = (_decoded(part) for part in header.strip().split("."))
        key = Ed25519PublicKey.from_public_bytes(base64.b64decode(public_key, validate=True))
        key.verify(signature, content)
        context = DrillContext.model_validate_json(content)
    except (ValueError, binascii.Error, InvalidSignature, ValidationError):
        return None
    return context if now < context.expires_at else None


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _decoded(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
