"""Usage on its way from the gateway's journal to the ledger, with real processes."""

from __future__ import annotations

import os
import re
import signal
from typing import TYPE_CHECKING

from service import Service, serving, wait_until

if TYPE_CHECKING:
    from pathlib import Path


def _gauge(service: Service, name: str) -> float:
    found = re.search(rf"^{name} (\S+)$", service.get("/metrics")[1], re.MULTILINE)
    assert found is not None
    return float(found[1])


def test_usage_waits_while_control_hangs_and_is_booked_when_it_goes_on(tmp_path: Path) -> None:
    """The API does not notice, the metrics tell what waits and for how long; nothing is lost or doubled."""
    with serving(tmp_path) as service:
        control = service.children()["control"]
        os.kill(control, signal.SIGSTOP)
        try:
            assert [service.chat()[0] for _ in range(3)] == [200] * 3
            assert _gauge(service, "techstone_journal_waiting_bytes") > 0
            wait_until(lambda: _gauge(service, "techstone_journal_lag_seconds") > 0.3)
        finally:
            os.kill(control, signal.SIGCONT)
        wait_until(lambda: _gauge(service, "techstone_journal_waiting_bytes") == 0)
        assert _gauge(service, "techstone_journal_lag_seconds") == 0
        assert len(service.ask("usage", "--requests")) == 3


def test_stopped_service_leaves_nothing_unbooked(tmp_path: Path) -> None:
    """What was answered just before SIGTERM is in the database when the process is gone."""
    with serving(tmp_path) as service:
        assert [service.chat()[0] for _ in range(5)] == [200] * 5
        assert service.stop() == 0
        assert [record["state"] for record in service.ask("usage", "--requests")] == ["settled"] * 5
