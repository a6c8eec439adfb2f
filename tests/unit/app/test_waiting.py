"""What a gateway says while it waits for the control plane."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest

from techstone.app import child, gateway

if TYPE_CHECKING:
    from techstone.adapters.snapshots import SnapshotFollower
    from techstone.app.gateway import Stopping


async def _wait(capsys: pytest.CaptureFixture[str], ticks: float, **state: Any) -> str:  # noqa: ANN401 - a follower's
    """Wait for so many times the patience; return what was said."""
    follower = SimpleNamespace(followed=asyncio.Event(), view=None, **state)
    stopping = SimpleNamespace(asked=asyncio.Event())
    waiting = asyncio.create_task(
        gateway._await_control(cast("SnapshotFollower", follower), cast("Stopping", stopping))
    )
    await asyncio.sleep(ticks * gateway._CONTROL_PATIENCE)
    stopping.asked.set()
    await waiting
    return capsys.readouterr().err


@pytest.fixture(autouse=True)
def _hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gateway, "_CONTROL_PATIENCE", 0.05)
    monkeypatch.delenv(child.READY_FD, raising=False)


async def test_gateway_apart_says_at_once_what_it_waits_for(capsys: pytest.CaptureFixture[str]) -> None:
    assert "waits for the control plane before it serves: nobody" in await _wait(
        capsys, 2.5, problem="nobody", absent=True
    )


async def test_what_starts_at_the_same_moment_is_waited_for_in_silence(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """For some time: the first start of a slow machine takes longer than one that fails."""
    monkeypatch.setenv(child.READY_FD, "9")
    assert await _wait(capsys, 2.5, problem="nobody", absent=True) == ""
    assert "nobody" in await _wait(capsys, 6.5, problem="nobody", absent=True)


async def test_what_is_wrong_is_said_at_once(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A control plane that answers is no longer starting."""
    monkeypatch.setenv(child.READY_FD, "9")
    assert "refused" in await _wait(capsys, 2.5, problem="it refused", absent=False)
