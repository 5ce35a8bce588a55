"""Decrypt one part of an encrypted bundle: AES-256-CBC, its key made of passphrase and salt as ``openssl enc -md sha1`` does."""

from __future__ import annotations

import hashlib
from importlib import import_module

_MAGIC, _SALT, _BLOCK = b"Salted__", 8, 16
_KEY = 32


def decrypt(stored: bytes, passphrase: str, *, header: bool) -> bytes | None:
    """The content of what pgBackRest stored; None when it can't be that.

    :param header: whether the salt stands behind OpenSSL's magic word; in raw bundles it stands alone.
    """
    if header:
        if not stored.startswith(_MAGIC):
            return None
        stored = stored[len(_MAGIC) :]
    salt, blocks = stored[:_SALT], stored[_SALT:]
    if len(salt) < _SALT or not blocks or len(blocks) % _BLOCK:
        return None
    made = piece = b""
    while len(made) < _KEY + _BLOCK:
        piece = hashlib.sha1(piece + passphrase.encode() + salt, usedforsecurity=False).digest()
        made += piece
    ciphers = import_module("cryptography.hazmat.primitives.ciphers")
    key, vector = made[:_KEY], made[_KEY : _KEY + _BLOCK]
    cipher = ciphers.Cipher(ciphers.algorithms.AES(key), ciphers.modes.CBC(vector)).decryptor()
    content: bytes = cipher.update(blocks) + cipher.finalize()
    filled = content[-1]
    return content[:-filled] if 0 < filled <= _BLOCK and content.endswith(bytes([filled]) * filled) else None
