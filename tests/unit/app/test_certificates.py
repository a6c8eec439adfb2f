"""Certificates that are renewed on the disk are shown to who connects next; what is no use changes nothing."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

import pytest
import trustme

from techstone.app.certificates import Certificate, load_server

if TYPE_CHECKING:
    from pathlib import Path


class Files:
    """A chain and a key on the disk, of one authority."""

    def __init__(self, folder: Path) -> None:
        self.authority = trustme.CA()
        self.chain, self.key = folder / "tls.crt", folder / "tls.key"
        self.client = ssl.create_default_context()
        self.authority.configure_trust(self.client)
        self.issue()

    def issue(self) -> trustme.LeafCert:
        """Write a new certificate and its key."""
        issued = self.authority.issue_cert("localhost")
        issued.cert_chain_pems[0].write_to_path(self.chain)
        issued.private_key_pem.write_to_path(self.key)
        return issued


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


def shown(certificate: Certificate, client: ssl.SSLContext) -> str:
    """Return the serial number that a client is shown, by a handshake in memory."""
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    server_side = certificate.context.wrap_bio(to_server, to_client, server_side=True)
    client_side = client.wrap_bio(to_client, to_server, server_hostname="localhost")
    for _ in range(4):
        for side in (client_side, server_side):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
    found = client_side.getpeercert()
    assert found is not None
    return str(found["serialNumber"])


def test_renewed_files_are_shown_to_the_next(files: Files) -> None:
    """Without a restart; files that did not change are not read again."""
    certificate = load_server(str(files.chain), str(files.key))
    first = shown(certificate, files.client)
    assert not certificate.renew()
    files.issue()
    assert certificate.renew()
    assert shown(certificate, files.client) != first


def test_half_of_a_renewal_changes_nothing(files: Files) -> None:
    """A new chain with the old key is told and not used; with its key it is."""
    certificate = load_server(str(files.chain), str(files.key))
    first, key = shown(certificate, files.client), files.key.read_bytes()
    issued = files.issue()
    files.key.write_bytes(key)
    with pytest.raises(OSError, match=r"(?i)key"):
        certificate.renew()
    assert shown(certificate, files.client) == first
    issued.private_key_pem.write_to_path(files.key)
    assert certificate.renew()
    assert shown(certificate, files.client) != first


async def test_what_cannot_be_used_is_told_once(files: Files) -> None:
    """And looked for again: files that are away for a moment come back."""
    certificate, lines = load_server(str(files.chain), str(files.key)), []

    class Over(Exception):
        pass

    def report(line: str) -> None:
        lines.append(line)
        if "renewed" in line:
            raise Over
        files.issue()

    files.chain.write_text("no certificate")
    with pytest.raises(Over):
        await certificate.follow(report, 0.0)
    assert ["cannot be used" in line for line in lines] == [True, False]


def test_files_that_do_not_belong_together_are_refused(files: Files) -> None:
    """At the start, before anything listens."""
    key = files.key.read_bytes()
    files.issue()
    files.key.write_bytes(key)
    with pytest.raises(OSError, match=r"(?i)key"):
        load_server(str(files.chain), str(files.key))
