"""Top-ups by card through the whole service, with Stripe's own library and a server that answers as Stripe does."""

from __future__ import annotations

import functools
import http.client
import json
import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from forms import PASSWORD, Browser
from service import Service, serving, wait_until
from stripe_server import KEY, SECRET, Stripe, compose_event, serving_stripe, sign

if TYPE_CHECKING:
    from collections.abc import Iterator

_CONFIGURATION = """
[billing]
seller = {{ name = "Seller GmbH", address = "Street 1\\nTown", tax_id = "DE1" }}
[payments]
stripe_key_env = "STRIPE_SECRET_KEY"
stripe_webhook_secret_env = "STRIPE_WEBHOOK_SECRET"
stripe_api_base = "{url}"
"""
_SECRETS = {"STRIPE_SECRET_KEY": KEY, "STRIPE_WEBHOOK_SECRET": SECRET}


@pytest.fixture(scope="module")
def stripe() -> Iterator[Stripe]:
    with serving_stripe() as running:
        yield running


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, stripe: Stripe) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("payments")
    with serving(folder, _CONFIGURATION.format(url=stripe.url), _SECRETS) as running:
        yield running
        everything = running.printed() + running.complained()
        assert KEY not in everything
        assert SECRET not in everything


@pytest.fixture(scope="module")
def owner(service: Service) -> Browser:
    found = re.search(r"(/console/link/[\w-]+)", service.printed())
    assert found is not None
    browser = Browser(service)
    assert browser.submit(found[1], email="ann@example.com", password=PASSWORD).status == 303
    return browser


def send(service: Service, body: str, signature: str | None = None, path: str = "/webhooks/stripe") -> int:
    """Send an event, and return the status of the answer; 0 where none comes."""
    connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=30)
    headers = {"Content-Type": "application/json; charset=utf-8", "User-Agent": "Stripe/1.0"}
    if signature != "":
        headers["Stripe-Signature"] = signature or sign(body)
    try:
        connection.request("POST", path, body.encode(), headers)
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return 0
    finally:
        connection.close()


def is_taken(service: Service, body: str) -> bool:
    return send(service, body) == 200


def begin(owner: Browser, stripe: Stripe, usd: str = "25") -> str:
    """Begin a payment in the Console; return the session's name."""
    order = re.search(r'name="order" value="(\w+)"', owner.open("/console/billing").text)
    assert order is not None
    answer = owner.submit("/console/billing/checkout", page="/console/billing", usd=usd, order=order[1])
    assert answer.status == 303, answer.text
    assert answer.headers["location"].startswith(f"{stripe.url}/c/pay/")
    return answer.headers["location"].rpartition("/")[2]


def credit(service: Service) -> float:
    return float(service.ask("account", "show", "owner@localhost")["credit"])


def granted(service: Service) -> float:
    return float(service.ask("account", "show", "owner@localhost")["granted"])


def test_top_up_by_card_is_credited_and_receipted(service: Service, owner: Browser, stripe: Stripe) -> None:
    """From the form to Stripe's page, by the event to the credit; back before the event the page waits for it."""
    page = owner.open("/console/billing")
    assert f"form-action 'self' {stripe.url};" in page.headers["content-security-policy"]
    assert stripe.url not in owner.open("/console/keys").headers["content-security-policy"]
    before = granted(service)
    session = begin(owner, stripe, "12.5")
    asked = stripe.asked[-1]
    assert asked["line_items[0][price_data][unit_amount]"] == "1250"
    assert asked["payment_intent_data[metadata][payment]"] == asked["client_reference_id"]
    back = stripe.sessions[session]["success_url"].removeprefix(service.url)
    assert "Waiting for Stripe" in owner.open(back).text
    assert send(service, stripe.pay(session)) == 200
    assert granted(service) == before + 12.5
    assert "12.50 USD are paid and added" in owner.open(back).text
    number = re.search(r"/console/billing/invoices/(TS-\d{4}-\d{6})", owner.open("/console/billing").text)
    assert number is not None
    receipt = owner.open(number[0]).text
    for words in ("Receipt", "Seller GmbH", "DE1", "12.50", "Paid by card"):
        assert words in receipt
    assert "credited" in owner.open("/console/operate/payments").text
    assert number[1] in owner.open("/console/operate/invoices").text
    assert [entry["action"] for entry in service.ask("audit", "list")[:3]].count("payment.credit") == 1
    assert service.ask("audit", "check")["broken"] is None


def test_form_sent_twice_opens_one_page(owner: Browser, stripe: Stripe) -> None:
    """Also where Stripe fails at first; another amount is another payment."""
    order = re.search(r'name="order" value="(\w+)"', owner.open("/console/billing").text)
    assert order is not None
    stripe.failing = 1
    places = [
        owner.submit("/console/billing/checkout", page="/console/billing", usd=usd, order=order[1]).headers["location"]
        for usd in ("10", "10", "25")
    ]
    assert places[0] == places[1] != places[2]


@pytest.mark.parametrize("usd", ["", "4.99", "1000.01", "10.001", "-10", "1e2", "ten", "10\r\n"])
def test_amount_out_of_bounds_is_told_at_the_field(owner: Browser, stripe: Stripe, usd: str) -> None:
    """Nothing is asked of Stripe, and what was typed stands there still."""
    asked = len(stripe.asked)
    answer = owner.submit("/console/billing/checkout", page="/console/billing", usd=usd, order="0" * 20)
    if usd == "10\r\n":
        assert answer.status == 303, "blanks around an amount are nothing"
        return
    assert answer.status == 400
    assert "The amount must be 5.00 to 1000.00 USD" in answer.text
    assert f'value="{usd}"' in answer.text
    assert len(stripe.asked) == asked


def test_stripe_that_fails_is_told_and_nothing_is_begun_twice(owner: Browser, stripe: Stripe) -> None:
    """A 503 in the page, after the library's own tries."""
    stripe.failing = 9
    answer = owner.submit("/console/billing/checkout", page="/console/billing", usd="10", order="1" * 20)
    stripe.failing = 0
    assert answer.status == 503
    assert "Nothing was charged" in answer.text


def test_event_that_is_not_signed_changes_nothing(service: Service, owner: Browser, stripe: Stripe) -> None:
    """Another secret, an old one, one for another body, none, nonsense (row A-8); then it is still good."""
    session, before = begin(owner, stripe), granted(service)
    body = stripe.pay(session)
    forged = [sign(body, "whsec_other"), sign(body, age=301), sign(body + " "), "", "t=1,v1=0", "v1=x", "t=a,v1=b", ","]
    assert [send(service, body, signature) for signature in forged] == [400] * len(forged)
    assert send(service, body.replace("\n", ""), sign(body)) == 400, "the body is signed as it is on the wire"
    assert granted(service) == before
    assert send(service, body, sign(body, age=290)) == 200
    assert granted(service) == before + 25


def test_replayed_event_is_credited_once(service: Service, owner: Browser, stripe: Stripe) -> None:
    """Twenty at the same time, and both kinds of event for one session."""
    session, before = begin(owner, stripe), granted(service)
    bodies = [stripe.pay(session), stripe.pay(session, "checkout.session.async_payment_succeeded")] * 10
    with ThreadPoolExecutor(20) as threads:
        assert set(threads.map(lambda body: send(service, body), bodies)) == {200}
    assert granted(service) == before + 25
    assert service.ask("ledger", "check") == []


def test_payment_by_bank_waits_for_the_bank(service: Service, owner: Browser, stripe: Stripe) -> None:
    """Completed but not paid is no credit; what came to nothing is told; paid after all counts."""
    session, before = begin(owner, stripe), granted(service)
    back = stripe.sessions[session]["success_url"].removeprefix(service.url)
    assert send(service, stripe.pay(session, payment_status="unpaid")) == 200
    assert "Waiting for Stripe" in owner.open(back).text
    failed = stripe.pay(session, "checkout.session.async_payment_failed", payment_status="unpaid")
    assert send(service, failed) == 200
    assert "were not paid: the payment failed" in owner.open(back).text
    assert granted(service) == before
    assert send(service, stripe.pay(session, "checkout.session.async_payment_succeeded")) == 200
    assert send(service, failed) == 200
    assert granted(service) == before + 25


@pytest.mark.parametrize(
    "changed", [{"amount_total": 100}, {"currency": "eur"}, {"metadata": {"account": "acct_other"}}]
)
def test_payment_that_differs_is_held_and_shown(
    service: Service, owner: Browser, stripe: Stripe, changed: dict[str, Any]
) -> None:
    """Nothing is credited; the operator sees it, and the terminal says it."""
    session, before = begin(owner, stripe), granted(service)
    assert send(service, stripe.pay(session, **changed)) == 200
    assert granted(service) == before
    assert "paid, not credited" in owner.open("/console/operate/payments").text
    wait_until(lambda: "is paid, but not credited: " in service.complained())
    back = stripe.sessions[session]["success_url"].removeprefix(service.url)
    assert "did not come as they were asked for" in owner.open(back).text


def test_what_is_not_ours_is_left_alone(service: Service, owner: Browser, stripe: Stripe) -> None:
    """Another shop's payment on the same Stripe account, an event that we do not know, one that cannot be read."""
    before = granted(service)
    session = begin(owner, stripe)
    for reference in ("order_77", None):
        assert send(service, stripe.pay(session, client_reference_id=reference)) == 200
    assert send(service, compose_event("customer.created", {"id": "cus_1"})) == 200
    assert send(service, "{}") == 400
    assert send(service, "\x00") == 400
    assert granted(service) == before


def test_refund_and_dispute_are_shown_and_take_no_credit(service: Service, owner: Browser, stripe: Stripe) -> None:
    """Told in any order, before the payment too."""
    session, before = begin(owner, stripe, "100"), granted(service)
    intent = f"pi_{session.removeprefix('cs_test_')}"
    charge = {"id": f"ch_{intent}", "object": "charge", "amount": 10_000, "payment_intent": intent, "currency": "usd"}
    dispute = {"id": f"dp_{intent}", "object": "dispute", "amount": 10_000, "payment_intent": intent}
    refunded = compose_event("charge.refunded", charge | {"amount_refunded": 3300, "refunded": False})
    disputed = compose_event("charge.dispute.created", dispute | {"status": "needs_response"})
    assert [send(service, body) for body in (refunded, stripe.pay(session), disputed, refunded)] == [200] * 4
    assert granted(service) == before + 100
    listed = owner.open("/console/operate/payments").text
    assert "33.00 refunded" in listed
    assert "dispute: needs response" in listed


def test_flood_and_large_bodies_are_bounded(service: Service) -> None:
    """A body above 256 KB is refused; three hundred unsigned ones are no news to the operator, nor stop the pages."""
    large = " " * (256 * 1024 + 1)
    assert send(service, large) == 413
    own = [line for line in service.complained().splitlines() if line.startswith("control:")]
    with ThreadPoolExecutor(16) as threads:
        statuses = set(threads.map(lambda _: send(service, "{}", "t=1,v1=0"), range(300)))
    assert statuses == {400}
    assert own == [line for line in service.complained().splitlines() if line.startswith("control:")]
    assert service.get("/console/log-in")[0] == 200


def test_kill_between_event_and_answer_credits_once(service: Service, owner: Browser, stripe: Stripe) -> None:
    """The control plane is killed at any moment of it; Stripe sends again until it hears a 200."""
    for pause in (0.0, 0.002, 0.004, 0.006, 0.01, 0.02):
        session, before = begin(owner, stripe), granted(service)
        body = stripe.pay(session)
        sender = threading.Thread(target=send, args=(service, body))
        sender.start()
        time.sleep(pause)
        service.kill("control")
        sender.join()
        wait_until(functools.partial(is_taken, service, body), 30, 0.2)
        assert granted(service) == before + 25
        assert service.ask("ledger", "check") == []
    receipts = re.findall(r"TS-\d{4}-(\d{6})</a>", owner.open("/console/operate/invoices").text)
    assert [int(number) for number in receipts] == list(range(len(receipts), 0, -1)), "numbers have no gap"


def test_secrets_are_the_control_planes_alone(service: Service) -> None:
    """No other process of the service has them in its environment."""
    for name, pid in service.children().items():
        environment = Path(f"/proc/{pid}/environ").read_text()
        found = {secret for secret in (KEY, SECRET) if secret in environment}
        assert found == set() or name == "control"


def test_without_configuration_there_is_no_payment(tmp_path_factory: pytest.TempPathFactory) -> None:
    """No route for events; documents are there."""
    with serving(tmp_path_factory.mktemp("off")) as service:
        assert send(service, "{}", "t=1,v1=0") == 404
        assert json.loads(service.get("/openapi.json")[1])["paths"]["/api/v1/invoices"]
