"""What a gateway must remember and tell: usage on its way to the ledger, and the plan's last minute."""

from __future__ import annotations

import os
import signal
import threading
from typing import TYPE_CHECKING

from service import Service, serving, wait_until
from upstream import providing

if TYPE_CHECKING:
    from pathlib import Path

_LIMITED = """
[[providers]]
name = "up"
base_url = "%s"
[[models]]
name = "m"
price = {input = "1", output = "1"}
routes = [{provider = "up", model = "x"}]
[[models]]
name = "silent"
price = {input = "1", output = "1"}
routes = [{provider = "up", model = "silent"}]
[plans.enterprise]
rpm = 20
[engine]
enabled = false
"""


def test_usage_waits_while_control_hangs_and_is_booked_when_it_goes_on(tmp_path: Path) -> None:
    """The API does not notice, the metrics tell what waits and for how long; nothing is lost or doubled."""
    with serving(tmp_path) as service:
        control = service.children()["control"]
        os.kill(control, signal.SIGSTOP)
        try:
            assert [service.chat()[0] for _ in range(3)] == [200] * 3
            assert service.gauge("techstone_journal_waiting_bytes") > 0
            wait_until(lambda: service.gauge("techstone_journal_lag_seconds") > 0.3)
        finally:
            os.kill(control, signal.SIGCONT)
        wait_until(lambda: service.gauge("techstone_journal_waiting_bytes") == 0)
        assert service.gauge("techstone_journal_lag_seconds") == 0
        assert len(service.ask("usage", "--requests")) == 3


def test_stopped_service_leaves_nothing_unbooked(tmp_path: Path) -> None:
    """What was answered just before SIGTERM is in the database when the process is gone."""
    with serving(tmp_path) as service:
        assert [service.chat()[0] for _ in range(5)] == [200] * 5
        assert service.stop() == 0
        assert [record["state"] for record in service.ask("usage", "--requests")] == ["settled"] * 5


def test_killed_gateway_does_not_exceed_the_plan_either(tmp_path: Path) -> None:
    """Of 20 a minute 12 are under way when it is killed, and 3 are answered: after the restart 5 are left."""
    with providing() as (url, received), serving(tmp_path, _LIMITED % url) as service:
        assert [service.chat({"model": "m"})[0] for _ in range(3)] == [200] * 3
        waiting = [threading.Thread(target=_ask_in_vain, args=(service,)) for _ in range(12)]
        for thread in waiting:
            thread.start()
        wait_until(lambda: len(received) == 15)
        gateway = service.children()["gateway"]
        os.kill(gateway, signal.SIGKILL)
        for thread in waiting:
            thread.join()
        wait_until(lambda: service.children().get("gateway", gateway) != gateway)
        wait_until(lambda: _is_up(service))
        assert [service.chat({"model": "m"})[0] for _ in range(7)] == [200] * 5 + [429] * 2
        assert len(received) == 20


def _ask_in_vain(service: Service) -> None:
    try:
        service.chat({"model": "silent"})
    except OSError:
        return
    raise AssertionError("it was answered")


def _is_up(service: Service) -> bool:
    try:
        return service.get("/readyz")[0] == 200
    except OSError:
        return False
