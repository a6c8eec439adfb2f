"""Seals secrets at rest with AES-256-GCM. The master key is the environment's, else a file's in the data folder.

A sealed secret is a version, a random nonce of 96 bits, and the ciphertext with its tag; the context is associated data
(NIST SP 800-38D), so that a secret opens only for what it was sealed for. Random nonces are good for 2^32 seals under
one key (section 8.3), which is more than people will ever type. The key is read when it is needed first: most
installations have no sealed secret, and the library takes 50 ms to import.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import hmac
import os
import re
import secrets
from typing import TYPE_CHECKING

from techstone.core.sealing import Unsealable

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

VARIABLE = "TECHSTONE_SECRET_KEY"
FILE = "secret.key"
_VERSION = b"\x01"
_KEY_BYTES = 32
_NONCE_BYTES = 12


class Vault:
    """Seals and opens. `folder` is the data folder; two processes on one folder open what the other sealed."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self._file = folder / FILE
        self._environment = environment
        self._key: bytes | None = None

    def __repr__(self) -> str:
        """Leave the key out."""
        return f"Vault({self._file})"

    def seal(self, secret: bytes, context: str) -> bytes:
        """Return the secret sealed for a context; raise Unsealable where there can be no master key."""
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415 - see above

        nonce = secrets.token_bytes(_NONCE_BYTES)
        return _VERSION + nonce + AESGCM(self._read(create=True)).encrypt(nonce, secret, context.encode())

    def open(self, sealed: bytes, context: str) -> bytes:
        """Return the secret; raise Unsealable for another context or master key, and for what was changed."""
        from cryptography.exceptions import InvalidTag  # noqa: PLC0415 - see above
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415

        if sealed[:1] != _VERSION:
            raise Unsealable("a sealed secret is of another version")
        nonce, rest = sealed[1 : 1 + _NONCE_BYTES], sealed[1 + _NONCE_BYTES :]
        try:
            return AESGCM(self._read(create=False)).decrypt(nonce, rest, context.encode())
        except (InvalidTag, ValueError) as error:
            raise Unsealable(f"a secret cannot be opened: it was sealed with another {VARIABLE}, or changed") from error

    def name_key(self) -> str | None:
        """Return what names the master key and tells nothing of it (16 hex digits); None where there is none."""
        try:
            return hmac.digest(self._read(create=False), b"the name of this key", "sha256")[:8].hex()
        except Unsealable:
            return None

    def _read(self, *, create: bool) -> bytes:
        if self._key is None:
            written = self._environment.get(VARIABLE)
            if written:
                self._key = _decode(written, VARIABLE)
            else:
                self._key = self._read_file(create=create)
        return self._key

    def _read_file(self, *, create: bool) -> bytes:
        try:
            if create:
                self._create()
            if self._file.stat().st_mode & 0o077:
                raise Unsealable(f"{self._file} can be read by others: chmod 600 {self._file}")
            return _decode(self._file.read_text("ascii"), str(self._file))
        except FileNotFoundError as error:
            raise Unsealable(f"there is no master key: neither {VARIABLE} nor {self._file}") from error
        except (OSError, UnicodeDecodeError) as error:
            raise Unsealable(f"the master key cannot be read: {self._file}: {error}") from error

    def _create(self) -> None:
        """Make the file where there is none, whole or not at all, and of two at the same time only one."""
        if self._file.exists():
            return
        fresh = self._file.with_name(f"{FILE}.{secrets.token_hex(4)}.new")
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(base64.b64encode(secrets.token_bytes(_KEY_BYTES)) + b"\n")
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):
            os.link(fresh, self._file)  # unlike a rename, it replaces nothing
        fresh.unlink()
        folder = os.open(self._file.parent, os.O_RDONLY)
        try:
            os.fsync(folder)  # else a power cut could take the key and leave what it sealed
        finally:
            os.close(folder)


def _decode(text: str, name: str) -> bytes:
    """Return the 32 bytes that are written in base64 or in hex."""
    text = text.strip()
    try:
        key = bytes.fromhex(text) if re.fullmatch("[0-9A-Fa-f]{64}", text) else base64.b64decode(text, validate=True)
    except binascii.Error:
        key = b""
    if len(key) != _KEY_BYTES or len(set(key)) < 8:  # so few of 32 random bytes are a mistake, not chance
        raise Unsealable(f"{name} must be 32 bytes in base64, as `openssl rand -base64 32` makes them, or in hex")
    return key
