"""Limits in Redis through the whole service: real processes, and a Redis that comes and goes."""

from __future__ import annotations

import asyncio
import json
import subprocess
from typing import TYPE_CHECKING

from client import ask, gather, insist, post
from customers import list_bills, open_account, show_account
from puppet import compose, configure, describe_model, describe_plan, performing
from redis_server import RedisServer, serve_redis
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
            # A Redis younger than 4 s may have gateways that were not heard yet: nobody gives a part before.
            wait_until((folder / "data" / "gateways").exists)
            away = service.complained().count(" is away (")  # a busy machine may have held it up before
            redis.kill()
            assert service.chat()[0] == 200
            assert json.loads(service.get("/readyz")[1])["limits"] == "degraded"
            assert service.complained().count(" is away (") == away + 1
            socket = str(folder / "data" / "run" / "internal.sock")
            found = subprocess.run(
                ["curl", "-s", "--unix-socket", socket, f"http://control/internal/figures/{account['id']}"],
                capture_output=True,
                check=True,
            )
            assert json.loads(found.stdout)["spent"] == 0


def test_credit_on_redis_falls_to_nothing_and_is_rebuilt_from_the_ledger(tmp_path: Path) -> None:
    """M-7 on Redis: credit for just 7 requests and 30 at once, and the same after FLUSHALL and a further payment."""
    (tmp_path / "redis").mkdir()
    folder = tmp_path / "house"
    folder.mkdir()
    with serve_redis(tmp_path / "redis") as redis, performing() as upstream:
        # Input is free: what is held for a request is what it costs, if it takes all the tokens that it asked for.
        parts = (describe_model("paid", input_price=0), describe_plan("many", 30))
        limits = f"[data]\nlimits = 'redis://127.0.0.1:{redis.port}'\n"
        with serving(folder, configure(upstream.url, limits, *parts)) as service:
            wait_until(lambda: service.gauge("techstone_limits_degraded") == 0)
            customer = open_account(service, "many", str(3 * 7))
            request = post(customer.key, compose("paid", tokens=3, words=3, pause=0.02))

            def rush() -> list[tuple[int, str]]:
                answers = asyncio.run(gather(insist(service, request) for _ in range(30)))
                return sorted(
                    (answer.status, json.loads(answer.body).get("error", {}).get("code", "")) for answer in answers
                )

            def read_left() -> str | None:
                """Return what the gateway would let it spend, by Redis; None: that is not known yet (503)."""
                estimate = post(customer.key, compose("paid"), path="/v1/estimate")
                told = json.loads(asyncio.run(ask(service, estimate)).body)
                return str(told["limits"]["credit"]) if "limits" in told else None

            wait_until(lambda: read_left() == "21.00", 60)
            assert rush() == [(200, "")] * 7 + [(429, "insufficient_quota")] * 23
            assert (len(list_bills(service, customer)), show_account(service, customer).credit) == (7, "0.00")
            wait_until(lambda: read_left() == "0.00", 60)
            redis.ask("FLUSHALL")
            assert service.run("account", "credit", customer.email, "9").returncode == 0
            wait_until(lambda: read_left() == "9.00", 60)
            assert [status for status, _ in rush()].count(200) == 3
            assert (len(list_bills(service, customer)), show_account(service, customer).credit) == (10, "0.00")
            wait_until(lambda: read_left() == "0.00", 60)


def test_service_that_never_heard_redis_says_so_and_gives_nothing(tmp_path: Path) -> None:
    """503 with the reason until Redis is there; then it serves, and as it stops it takes its leave of the others."""
    (tmp_path / "redis").mkdir()
    server = RedisServer(tmp_path / "redis")
    folder = tmp_path / "house"
    folder.mkdir()
    with serving(folder, f"[data]\nlimits = 'redis://127.0.0.1:{server.port}'\n") as service:
        status, body, _ = service.get("/readyz")
        told = json.loads(body)
        assert (status, told["status"], told["limits"]) == (503, "starting", "degraded")
        assert "how many gateways" in told["problem"]
        assert service.chat()[0] == 503
        assert not (folder / "data" / "gateways").exists()
        server.start()
        try:
            wait_until(lambda: service.get("/readyz")[0] == 200, 10)
            assert service.chat()[0] == 200
            wait_until((folder / "data" / "gateways").exists, 10)
            service.stop()
            gateways = server.ask("ZRANGE", "techstone:{gateways}:present", "0", "-1", "WITHSCORES")
            assert isinstance(gateways, list)
            assert [float(score) < 0 for score in gateways[1::2]] == [True]
        finally:
            server.kill()
