"""Limits in Redis through the whole service: real processes, and a Redis that comes and goes."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING

from redis_server import serve_redis
from service import serving, wait_until

if TYPE_CHECKING:
    from pathlib import Path


def test_service_on_redis_keeps_its_plan_and_serves_without_it(tmp_path: Path) -> None:
    """A restart gives nobody a second plan; while Redis is dead the plan holds here alone, and is told as degraded."""
    (tmp_path / "redis").mkdir()
    with serve_redis(tmp_path / "redis", "--requirepass", "s3cret", password="s3cret") as redis:
        configuration = f"[data]\nlimits = 'redis://127.0.0.1:{redis.port}/1'\nlimits_password_env = 'REDIS_PASSWORD'\n"
        folder = tmp_path / "house"
        folder.mkdir()
        with serving(folder, configuration, {"REDIS_PASSWORD": "s3cret"}) as service:
            wait_until(lambda: service.gauge("techstone_limits_degraded") == 0)
            account = service.ask("account", "list")[0]
            done = service.run("account", "set-plan", account["email"], account["plan"], "--rpm", "4")
            assert done.returncode == 0, done.stderr
            assert [service.chat()[0] for _ in range(3)] == [200, 200, 200]
            service.kill("gateway")
            wait_until(lambda: "degraded" not in service.get("/readyz")[1], 20)
            assert [service.chat()[0] for _ in range(2)] == [200, 429]
            told = "limits: Redis at 127.0.0.1"
            before = service.complained().count(told)
            redis.kill()
            assert service.chat()[0] == 200
            assert json.loads(service.get("/readyz")[1])["limits"] == "degraded"
            assert service.complained().count(told) == before + 1
            socket = str(folder / "data" / "run" / "internal.sock")
            found = subprocess.run(
                ["curl", "-s", "--unix-socket", socket, f"http://control/internal/figures/{account['id']}"],
                capture_output=True,
                check=True,
            )
            assert json.loads(found.stdout)["spent"] == 0
