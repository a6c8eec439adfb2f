"""What is kept sealed: AES-256-GCM under the installation's secret key, each value bound to what it is for.

The key is 32 random bytes in the data folder (mode 0600, made at first need), or in the environment variable
TECHSTONE_SECRET_KEY, for operators who keep it apart from the data. A sealed value is `v1.`, a random nonce of 96 bits,
and the ciphertext with its tag (NIST SP 800-38D, 8.2.2: random nonces are good for 2^32 values of one key).
"""

from __future__ import annotations

import base64
import binascii
import os
import secrets
from typing import TYPE_CHECKING

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

if TYPE_CHECKING:
    from pathlib import Path

SECRET_KEY = "TECHSTONE_SECRET_KEY"  # noqa: S105 - the variable's name
FILE = "secret.key"
_VERSION = b"v1."
_KEY, _NONCE, _TAG = 32, 12, 16
_ADVICE = "32 random bytes in base64 or hexadecimal, as `openssl rand -base64 32` prints them"


class VaultError(Exception):
    """The key cannot be used, or does not open a value: one line for the operator, without either of them."""


class Vault:
    """Seals and opens. `path` is the key's file; `given` is a key in text, which goes before the file."""

    def __init__(self, path: Path, given: str | None = None) -> None:
        self._path = path
        self._cipher = None if given is None else AESGCM(_decode(given, SECRET_KEY))

    def seal(self, value: bytes, context: str) -> bytes:
        """Return the value sealed for a context; raise VaultError where there is no key."""
        nonce = secrets.token_bytes(_NONCE)
        return _VERSION + nonce + self._ready().encrypt(nonce, value, _VERSION + context.encode())

    def open(self, sealed: bytes, context: str) -> bytes:
        """Return what was sealed for this context; raise VaultError for anything else."""
        if not sealed.startswith(_VERSION) or len(sealed) < len(_VERSION) + _NONCE + _TAG:
            raise VaultError("this is not a sealed value")
        start = len(_VERSION) + _NONCE
        try:
            return self._ready().decrypt(sealed[len(_VERSION) : start], sealed[start:], _VERSION + context.encode())
        except InvalidTag:
            raise VaultError("a sealed value was made with another key, for another use, or was changed") from None

    def _ready(self) -> AESGCM:
        if self._cipher is None:
            self._cipher = AESGCM(_read(self._path))
        return self._cipher


def _read(path: Path) -> bytes:
    """Return the key of a file, made where there is none; raise VaultError."""
    try:
        if not path.exists():
            _make(path)
        if path.stat().st_mode & 0o077:
            raise VaultError(f"{path} can be read by others: chmod 600 {path}")
        return _decode(path.read_text("ascii"), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise VaultError(f"{path}: {error}") from error


def _make(path: Path) -> None:
    """Make a key, whole or not at all: of two processes one makes it, and both read that one."""
    fresh = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    with os.fdopen(os.open(fresh, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as file:
        file.write(base64.b64encode(secrets.token_bytes(_KEY)) + b"\n")
        file.flush()
        os.fsync(file.fileno())
    try:
        os.link(fresh, path)
    except FileExistsError:
        pass
    finally:
        fresh.unlink()
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)  # else a power cut could take the key and leave what it sealed
    finally:
        os.close(folder)


def _decode(text: str, where: str) -> bytes:
    text = text.strip()
    try:
        key = bytes.fromhex(text) if len(text) == 2 * _KEY else base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error):
        key = b""
    if len(key) != _KEY or len(set(key)) < 8:  # 32 random bytes with fewer are a mistake, not chance
        raise VaultError(f"{where} holds no key: {_ADVICE}")
    return key
