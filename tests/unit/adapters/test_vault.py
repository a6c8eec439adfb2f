"""Secrets at rest: sealed for one context, by a key that is the environment's or a file's."""

from __future__ import annotations

import base64
import concurrent.futures
from typing import TYPE_CHECKING

import pytest

from techstone.adapters.vault import FILE, VARIABLE, Vault
from techstone.core.sealing import Unsealable

if TYPE_CHECKING:
    from pathlib import Path

SECRET = b"sk-" + b"x" * 40
KEY = bytes(range(32))


def test_secret_opens_for_its_context_alone(tmp_path: Path) -> None:
    """Sealed twice it is never the same bytes; another context, a bit that flips, another version: it stays closed."""
    vault = Vault(tmp_path, {})
    sealed = vault.seal(SECRET, "provider a https://a")
    assert vault.open(sealed, "provider a https://a") == SECRET
    assert SECRET not in sealed
    assert vault.seal(SECRET, "provider a https://a") != sealed
    changed = [sealed[:place] + bytes((sealed[place] ^ 1,)) + sealed[place + 1 :] for place in range(len(sealed))]
    for wrong, context in [
        (sealed, "provider a https://b"),
        (b"", "x"),
        *((one, "provider a https://a") for one in changed),
    ]:
        with pytest.raises(Unsealable) as caught:
            vault.open(wrong, context)
        assert "sk-" not in str(caught.value)


def test_key_is_a_file_of_the_owner_alone_made_once(tmp_path: Path) -> None:
    """Not before it is needed, mode 0600; another process opens what this one sealed; of many at once one makes it."""
    vaults = [Vault(tmp_path, {}) for _ in range(16)]
    assert not (tmp_path / FILE).exists()
    with concurrent.futures.ThreadPoolExecutor() as pool:
        sealed = list(pool.map(lambda vault: vault.seal(SECRET, "c"), vaults))
    assert (tmp_path / FILE).stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir()] == [FILE]
    assert {Vault(tmp_path, {}).open(one, "c") for one in sealed} == {SECRET}


@pytest.mark.parametrize("written", [base64.b64encode(KEY).decode(), KEY.hex(), f" {KEY.hex()}\n"])
def test_key_of_the_environment_goes_before_the_file(tmp_path: Path, written: str) -> None:
    """In base64 or in hex; no file is made."""
    sealed = Vault(tmp_path, {VARIABLE: written}).seal(SECRET, "c")
    assert not (tmp_path / FILE).exists()
    assert Vault(tmp_path, {VARIABLE: KEY.hex()}).open(sealed, "c") == SECRET
    with pytest.raises(Unsealable, match="no master key"):
        Vault(tmp_path, {}).open(sealed, "c")


@pytest.mark.parametrize("written", ["short", "a" * 44, "!" * 44, base64.b64encode(b"k" * 31).decode()])
def test_key_of_no_form_is_told_and_not_repeated(tmp_path: Path, written: str) -> None:
    """Neither to seal nor to open."""
    with pytest.raises(Unsealable, match="32 bytes") as caught:
        Vault(tmp_path, {VARIABLE: written}).seal(SECRET, "c")
    assert written not in str(caught.value)
    assert written not in repr(Vault(tmp_path, {VARIABLE: written}))


def test_file_of_no_form_is_told(tmp_path: Path) -> None:
    """It is not replaced: what was sealed by it may still be wanted."""
    (tmp_path / FILE).write_bytes(b"\xff\xfe")
    (tmp_path / FILE).chmod(0o600)
    with pytest.raises(Unsealable, match="cannot be read"):
        Vault(tmp_path, {}).seal(SECRET, "c")
    assert (tmp_path / FILE).read_bytes() == b"\xff\xfe"


def test_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    """It may be known to somebody."""
    Vault(tmp_path, {}).seal(SECRET, "c")
    (tmp_path / FILE).chmod(0o644)
    with pytest.raises(Unsealable, match="chmod 600"):
        Vault(tmp_path, {}).seal(SECRET, "c")
