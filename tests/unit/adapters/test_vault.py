"""What is sealed is opened by its own key, for its own use, unchanged; and by nothing else."""

from __future__ import annotations

import base64
import concurrent.futures
from typing import TYPE_CHECKING

import pytest

from techstone.adapters.vault import FILE, Vault, VaultError

if TYPE_CHECKING:
    from pathlib import Path

KEY = bytes(range(32))


def test_sealed_value_is_opened_after_a_restart(tmp_path: Path) -> None:
    """The key is made at first need, readable for nobody else, and is the same from then on."""
    path = tmp_path / FILE
    vault = Vault(path)
    assert not path.exists()
    sealed = vault.seal(b"secret", "totp per_1")
    assert path.stat().st_mode & 0o777 == 0o600
    assert [one.name for one in tmp_path.iterdir()] == [FILE]
    assert b"secret" not in sealed
    assert Vault(path).open(sealed, "totp per_1") == b"secret"


def test_key_of_the_environment_goes_before_the_file(tmp_path: Path) -> None:
    """In base64 or hexadecimal; no file is made."""
    path = tmp_path / FILE
    sealed = Vault(path, base64.b64encode(KEY).decode() + "\n").seal(b"x", "c")
    assert Vault(path, KEY.hex()).open(sealed, "c") == b"x"
    assert not path.exists()


def test_same_value_is_sealed_differently_each_time(tmp_path: Path) -> None:
    """A nonce is never used twice."""
    vault = Vault(tmp_path / FILE)
    assert len({vault.seal(b"x", "c") for _ in range(1000)}) == 1000


def test_what_was_not_sealed_so_is_not_opened(tmp_path: Path) -> None:
    """Another key, another use, any bit changed, cut, or another version."""
    vault = Vault(tmp_path / FILE)
    sealed = vault.seal(b"value", "one use")
    wrong = [bytes([*sealed[:place], sealed[place] ^ 1, *sealed[place + 1 :]]) for place in range(len(sealed))]
    for other in (*wrong, sealed[:-1], sealed[:20], b"", b"v2." + sealed[3:]):
        with pytest.raises(VaultError):
            vault.open(other, "one use")
    for opener, context in ((vault, "another use"), (Vault(tmp_path / "other"), "one use")):
        with pytest.raises(VaultError, match="another key"):
            opener.open(sealed, context)


@pytest.mark.parametrize("text", ["", "secret", "0" * 64, base64.b64encode(b"short").decode(), "ü" * 44])
def test_weak_or_mistyped_key_is_refused(tmp_path: Path, text: str) -> None:
    """At once, and without repeating it (row A-8)."""
    with pytest.raises(VaultError, match="openssl rand") as refused:
        Vault(tmp_path / FILE, text)
    assert not text or text not in str(refused.value)


def test_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    """It may be known to somebody."""
    path = tmp_path / FILE
    Vault(path).seal(b"x", "c")
    path.chmod(0o644)
    with pytest.raises(VaultError, match="chmod 600"):
        Vault(path).seal(b"x", "c")
    with pytest.raises(VaultError):
        Vault(tmp_path / "nowhere" / FILE).seal(b"x", "c")


def test_two_processes_make_one_key(tmp_path: Path) -> None:
    """Whoever comes second takes that of the first."""
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        vaults = [Vault(tmp_path / FILE) for _ in range(16)]
        sealed = list(pool.map(lambda vault: vault.seal(b"x", "c"), vaults))
    assert {Vault(tmp_path / FILE).open(one, "c") for one in sealed} == {b"x"}
