"""Log-ins in two steps and by a provider, behind the real gateway: what is no session opens nothing."""

from __future__ import annotations

import html
import re
import time
from typing import TYPE_CHECKING

import pyotp
import pytest
from forms import PASSWORD, Browser, join, letters, newest_link
from issuer import SECRET, Issuer, issuing, pass_through
from service import Service, free_port, serving

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CODE = "/console/log-in/code"
SET_UP = "/console/me/two-factor"
SLUGS = ("trusted", "stranger", "open-to-all")


class World:
    """A service and an issuer, which is three providers: believed about example.com, about nothing, and who creates."""

    def __init__(self, service: Service, issuer: Issuer) -> None:
        self.service = service
        self.issuer = issuer

    def leave(self, slug: str, login: str, browser: Browser) -> str:
        """Leave by a provider's button and log in there; return the path that it sends back to."""
        left = browser.open(f"/console/oidc/{slug}")
        assert left.status == 303, left.text
        return pass_through(self.issuer, left.headers["location"], login).removeprefix(self.service.url)

    def go(self, slug: str, login: str, browser: Browser) -> str:
        """Leave, log in, come back; return where that leads to, or what the page says."""
        answer = browser.open(self.leave(slug, login, browser))
        assert "techstone-journey" not in browser.cookies
        return answer.headers.get("location") or html.unescape(answer.text)

    def enter(self, email: str) -> Browser:
        """Give e-mail and password."""
        browser = Browser(self.service)
        assert browser.submit("/console/log-in", email=email, password=PASSWORD).status == 303
        return browser


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    port = free_port()
    with issuing(*(f"http://127.0.0.1:{port}/console/oidc/{slug}/back" for slug in SLUGS)) as issuer:
        configuration = [
            "[console]\nsign_up = true\n",
            issuer.configure("Trusted", 'allowed_domains = ["example.com"]'),
            issuer.configure("Stranger"),
            issuer.configure("Open to all", "create = true"),
        ]
        folder = tmp_path_factory.mktemp("log-in")
        with serving(folder, "\n".join(configuration), {"ISSUER_SECRET": SECRET}, port) as service:
            yield World(service, issuer)


def set_up(browser: Browser) -> tuple[pyotp.TOTP, list[str]]:
    """Switch two-factor on; return the app, and recovery codes."""
    page = browser.open(SET_UP).text
    sealed, secret = re.search(r'name="sealed" value="([^"]+)"', page), re.search(r'id="secret">([A-Z2-7 ]+)<', page)
    assert sealed is not None
    assert secret is not None
    app = pyotp.TOTP(secret[1].replace(" ", ""))
    done = browser.submit(SET_UP, sealed=sealed[1], code=app.now(), proof=PASSWORD)
    assert "Two-factor is on" in done.text
    return app, re.findall(r"(?:[a-z2-7]{4}-){5}[a-z2-7]{4}", done.text)


def test_open_session_alone_sets_up_no_two_factor(world: World) -> None:
    """It wants the password; a code of the new app proves nothing, and who has no password chooses one first."""
    xia = join(world.service, "xia@example.com")
    page = xia.open(SET_UP).text
    sealed, secret = re.search(r'name="sealed" value="([^"]+)"', page), re.search(r'id="secret">([A-Z2-7 ]+)<', page)
    assert sealed is not None
    assert secret is not None
    code = pyotp.TOTP(secret[1].replace(" ", "")).now()
    for proof in ("", "wrong", code):
        refused = xia.submit(SET_UP, sealed=sealed[1], code=code, proof=proof)
        assert refused.status == 400
        assert re.search(r'id="proof-note">This is not your password', refused.text)
        assert sealed[1] in refused.text
    assert "Set up two-factor" in xia.open("/console/me").text
    yan = Browser(world.service)
    assert world.go("open-to-all", "yan", yan) == "/console"
    assert "you have none yet" in yan.open(SET_UP).text
    told = yan.submit(SET_UP, page="/console/me", sealed=sealed[1], code=code)
    assert (told.status, "Choose a password first" in told.text) == (400, True)
    assert yan.submit("/console/me/oidc/stranger/connect", page="/console/me", proof=code).status == 400


def next_code(app: pyotp.TOTP) -> str:
    """Return the code of the step after this one, which is good already: that of now was used for the set-up."""
    return str(app.at(int(time.time()) + 30))


def test_second_step_is_no_session(world: World) -> None:
    """With its cookie alone, under any name, every page leads to the door; a code opens a session of a new token."""
    dora = join(world.service, "dora@example.com")
    other = world.enter("dora@example.com")
    app, codes = set_up(dora)
    assert (len(codes), len(set(codes))) == (10, 10)
    assert other.open("/console").status == 303, "what was opened without a code has ended"
    half = world.enter("dora@example.com")
    assert set(half.cookies) == {"techstone-step"}
    step = half.cookies["techstone-step"]
    for path in ("/console", "/console/me", "/console/keys", SET_UP):
        assert half.open(path).headers["location"] == "/console/log-in"
    forged = Browser(world.service)
    forged.cookies = {"techstone": step, "techstone-step": "x"}
    assert forged.open("/console").status == 303
    assert forged.open(CODE).status == 303
    assert half.submit(CODE, code="000000").status == 400
    code = next_code(app)
    assert half.submit(CODE, code=code).headers["location"] == "/console"
    assert set(half.cookies) == {"techstone"}
    assert half.cookies["techstone"] != step
    again = world.enter("dora@example.com")
    assert "was used" in again.submit(CODE, code=code).text
    assert again.submit(CODE, code=codes[0]).status == 303
    assert "9 recovery codes left" in again.open("/console/me").text


def test_cookies_of_the_first_half_are_strict(world: World) -> None:
    """As the session's, and for minutes (row W-3)."""
    join(world.service, "fay@example.com")
    fay = world.enter("fay@example.com")
    set_up(fay)
    visitor = Browser(world.service)
    step = visitor.submit("/console/log-in", email="fay@example.com", password=PASSWORD).cookies
    journey = visitor.open("/console/oidc/trusted").cookies
    for cookies, seconds in ((step, 300), (journey, 600)):
        (cookie,) = cookies
        assert set(cookie.split("; ")[1:]) == {"Path=/", "HttpOnly", "SameSite=lax", f"Max-Age={seconds}"}


def test_new_password_leaves_two_factor_on(world: World) -> None:
    """The letter's link sets one, and leads to the second step like any log-in."""
    gus = join(world.service, "gus@example.com")
    app, _ = set_up(gus)
    before = len(letters(world.service))
    fresh = Browser(world.service)
    fresh.submit("/console/reset", email="gus@example.com")
    followed = fresh.submit(newest_link(world.service, before + 1), password="another good one")
    assert followed.headers["location"] == CODE
    assert fresh.open("/console").status == 303
    assert fresh.submit(CODE, code=next_code(app)).headers["location"] == "/console"


def test_other_log_in_in_the_same_browser_ends_the_one_before(world: World) -> None:
    """And what is shown as a session that is none is not taken over (row W-3)."""
    hal = join(world.service, "hal@example.com")
    first = hal.cookies["techstone"]
    join(world.service, "ivy@example.com")
    hal.submit("/console/log-in", page="/console", email="ivy@example.com", password=PASSWORD)
    assert "ivy@example.com" in hal.open("/console").text
    old = Browser(world.service)
    old.cookies = {"techstone": first}
    assert old.open("/console").status == 303


def test_owner_requires_two_factor_of_all_members(world: World) -> None:
    """Who has none does nothing but set it up; the owner has it first; nobody else changes the rule."""
    jo = join(world.service, "jo@example.com")
    assert jo.submit("/console/people/two-factor", page="/console/people", required="true").status == 400
    set_up(jo)
    assert jo.submit("/console/people", email="kim@example.com", role="admin").status == 200
    kim = Browser(world.service)
    assert kim.submit(newest_link(world.service, len(letters(world.service))), password=PASSWORD).status == 303
    assert kim.open("/console/keys").status == 200
    assert kim.submit("/console/people/two-factor", page="/console/people", required="true").status == 400
    assert jo.submit("/console/people/two-factor", page="/console/people", required="true").status == 303
    for path in ("/console", "/console/keys", "/console/me", "/console/operate/accounts"):
        assert kim.open(path).headers["location"] == SET_UP
    page = kim.open(SET_UP).text
    assert "jo@example.com" in page
    assert kim.submit("/console/keys/new", page=SET_UP, name="x").headers["location"] == SET_UP
    assert kim.submit("/console/me/password", page=SET_UP, known=PASSWORD, password="x" * 12).status == 303
    set_up(kim)
    assert kim.open("/console/keys").status == 200
    refused = kim.submit("/console/me/two-factor/off", page="/console/me", proof=PASSWORD)
    assert "asks all members for two-factor" in refused.text
    assert jo.submit("/console/people/two-factor", page="/console/people").status == 303
    assert "Two-factor is off" in kim.submit("/console/me/two-factor/off", page="/console/me", proof=PASSWORD).text


def test_operator_removes_the_two_factor_of_who_lost_it(world: World) -> None:
    """By a command, which the audit log tells; their sessions end."""
    lea = join(world.service, "lea@example.com")
    set_up(lea)
    shown = world.service.ask("account", "reset-two-factor", "lea@example.com")
    assert (shown["email"], shown["two_factor"]) == ("lea@example.com", False)
    assert lea.open("/console").status == 303
    assert world.enter("lea@example.com").open("/console").status == 200
    assert "person.reset_two_factor" in [one["action"] for one in world.service.ask("audit", "list")]
    assert world.service.run("account", "reset-two-factor", "lea@example.com").returncode == 1


def test_secret_is_sealed_in_the_data_folder(world: World) -> None:
    """Neither it nor a recovery code stands in the database; the key is readable for its owner alone."""
    moe = join(world.service, "moe@example.com")
    app, codes = set_up(moe)
    data = world.service.folder / "data"
    stored = b"".join(path.read_bytes() for path in data.glob("techstone.db*"))
    for secret in (app.secret, *codes, *(code.replace("-", "") for code in codes)):
        assert secret.encode() not in stored
    assert (data / "secret.key").stat().st_mode & 0o777 == 0o600


def test_start_with_a_weak_key_is_refused(tmp_path: Path) -> None:
    """By `serve`, and told by `doctor`, without repeating it (row A-8)."""
    service = Service(tmp_path, environment={"TECHSTONE_SECRET_KEY": "hunter2hunter2"})
    for command in ("serve", "doctor"):
        done = service.run(command)
        assert done.returncode == 1
        assert "openssl rand -base64 32" in done.stdout + done.stderr
        assert "hunter2" not in done.stdout + done.stderr


def test_believed_provider_opens_the_log_in_of_an_address(world: World) -> None:
    """Whose domain it is believed about; from then on by subject, and two-factor is asked for all the same."""
    ned = join(world.service, "ned@example.com")
    visitor = Browser(world.service)
    assert "Log in with Trusted" in visitor.open("/console/log-in").text
    assert world.go("trusted", "ned", visitor) == "/console"
    assert "ned@example.com" in visitor.open("/console").text
    assert "Trusted" in ned.open("/console/me").text
    app, _ = set_up(ned)
    again = Browser(world.service)
    assert world.go("trusted", "ned", again) == CODE
    assert again.open("/console").status == 303
    assert again.submit(CODE, code=next_code(app)).status == 303


def test_other_provider_takes_nobody_over(world: World) -> None:
    """A confirmed address is not enough where it is believed about no domain; who is logged in connects it."""
    ola = join(world.service, "ola@example.com")
    for slug in ("stranger", "open-to-all"):
        visitor = Browser(world.service)
        assert "ola@example.com has a log-in here" in world.go(slug, "ola", visitor)
        assert visitor.open("/console").status == 303
    refused = ola.submit("/console/me/oidc/stranger/connect", page="/console/me", proof="wrong")
    assert "This is not your password" in refused.text
    page = ola.submit("/console/me/oidc/stranger/connect", page="/console/me", proof=PASSWORD).text
    url = re.search(r'href="([^"]+)">Continue at Stranger', page)
    assert url is not None
    came = pass_through(world.issuer, html.unescape(url[1]), "ola").removeprefix(world.service.url)
    thief = join(world.service, "pat@example.com")
    thief.cookies["techstone-journey"] = ola.cookies["techstone-journey"]
    assert "not logged in as who began this" in html.unescape(thief.open(came).text)
    page = ola.submit("/console/me/oidc/stranger/connect", page="/console/me", proof=PASSWORD).text
    url = re.search(r'href="([^"]+)">Continue at Stranger', page)
    assert url is not None
    came = pass_through(world.issuer, html.unescape(url[1]), "ola").removeprefix(world.service.url)
    assert ola.open(came).headers["location"] == "/console/me"
    visitor = Browser(world.service)
    assert world.go("stranger", "ola", visitor) == "/console"
    assert ola.submit("/console/me/oidc/stranger/disconnect", page="/console/me").status == 303
    assert "has a log-in here" in world.go("stranger", "ola", Browser(world.service))


def test_new_person_comes_only_where_the_operator_says_so(world: World) -> None:
    """With an account of their own, no password, and none that an empty one opens."""
    assert "quin@example.com is not known here" in world.go("trusted", "quin", Browser(world.service))
    quin = Browser(world.service)
    assert world.go("open-to-all", "quin", quin) == "/console"
    assert "quin@example.com, plan pay-as-you-go" in quin.open("/console").text
    assert "Choose one by a letter" in quin.open("/console/me").text
    assert Browser(world.service).submit("/console/log-in", email="quin@example.com", password="").status == 400
    assert world.go("open-to-all", "quin", Browser(world.service)) == "/console"
    world.service.run("account", "create", "roy@example.com")
    assert "an account of roy@example.com already" in world.go("open-to-all", "roy", Browser(world.service))


def test_address_that_was_taken_on_a_providers_word_gets_no_seat(world: World) -> None:
    """Who has the letter joins by a log-in of their own, which ends whatever was connected before."""
    thief, victim = Browser(world.service), Browser(world.service)
    assert world.go("open-to-all", "zed@example.com", thief) == "/console"
    ann = join(world.service, "abe@example.com")
    ann.submit("/console/people", email="zed@example.com", role="admin")
    invitation = newest_link(world.service, len(letters(world.service)))
    page = victim.open(invitation).text
    assert "has a log-in here" in page
    assert ">Join<" not in page
    refused = victim.submit(invitation, page="/console/reset", password=PASSWORD)
    assert (refused.status, "Log in as zed@example.com" in refused.text) == (400, True)
    assert "log-in here by another provider" in world.go("trusted", "zed", Browser(world.service))
    before = len(letters(world.service))
    victim.submit("/console/reset", email="zed@example.com")
    led = victim.submit(newest_link(world.service, before + 1), password=PASSWORD).headers["location"]
    assert led == invitation
    assert ">Join<" in victim.open(invitation).text
    assert victim.submit(invitation).headers["location"] == "/console"
    assert "zed@example.com</th><td>admin" in re.sub(r"\s*<span.*?</span>", "", ann.open("/console/people").text)
    assert thief.open("/console").status == 303
    for slug in ("open-to-all", "stranger"):
        assert "zed@example.com has a log-in here" in world.go(slug, "zed@example.com", Browser(world.service))
    assert world.go("trusted", "zed", Browser(world.service)) == "/console"


def test_invitation_waits_for_the_right_log_in(world: World) -> None:
    """Who is logged in as somebody else logs out and in, and comes back to it; its cookie is gone then."""
    owner = join(world.service, "bo@example.com")
    cyd = join(world.service, "cyd@example.com")
    owner.submit("/console/people", email="cyd@example.com", role="viewer")
    invitation = newest_link(world.service, len(letters(world.service)))
    assert "You are logged in as bo@example.com" in owner.open(invitation).text
    assert owner.submit(invitation).status == 400
    assert owner.submit("/console/log-out", page=invitation).headers["location"] == "/console/log-in"
    led = owner.submit("/console/log-in", email="cyd@example.com", password=PASSWORD)
    assert led.headers["location"] == invitation
    assert set(owner.cookies) == {"techstone"}
    assert cyd.submit(invitation).headers["location"] == "/console"
    assert owner.open(invitation).status == 400


@pytest.mark.parametrize(
    ("slug", "login", "told"),
    [
        ("open-to-all", "unverified-sue", "does not confirm that unverified-sue@example.com is your address"),
        ("trusted", "tom@elsewhere.example", "only addresses of example.com log in here"),
        ("open-to-all", "no@address@x", "address that Open to all told cannot be used"),
    ],
)
def test_who_is_not_let_in_is_told_why(world: World, slug: str, login: str, told: str) -> None:
    """On the log-in page, and without a session."""
    visitor = Browser(world.service)
    assert told in world.go(slug, login, visitor)
    assert visitor.open("/console").status == 303


def test_answer_is_good_for_the_browser_and_the_provider_that_asked(world: World) -> None:
    """Another state, none, another browser, another provider, another issuer, twice: nobody is logged in."""
    join(world.service, "uma@example.com")
    browser = Browser(world.service)
    came = world.leave("trusted", "uma", browser)
    kept = browser.cookies["techstone-journey"]
    attempts = {
        "another browser": (came, ""),
        "another state": (re.sub(r"state=[^&]+", "state=" + "x" * 43, came), kept),
        "a state that is no ASCII": (re.sub(r"state=[^&]+", "state=%C3%A9", came), kept),
        "no state": (re.sub(r"state=[^&]+", "", came), kept),
        "another provider": (came.replace("/trusted/", "/stranger/"), kept),
        "another issuer": (re.sub(r"iss=[^&]+", "iss=https://evil.example", came), kept),
        "an error": (came.replace("code=", "error=access_denied&x="), kept),
        "a changed cookie": (came, kept[:-8] + "AAAAAAAA"),
    }
    for name, (path, cookie) in attempts.items():
        visitor = Browser(world.service)
        visitor.cookies = {"techstone-journey": cookie} if cookie else {}
        answer = visitor.open(path)
        assert answer.status == 400, name
        assert "Log in" in answer.text
        assert "techstone" not in visitor.cookies
    assert browser.open(came).headers["location"] == "/console"
    assert browser.open(came).status == 400


def test_broken_answer_of_a_provider_is_told_and_logged(world: World) -> None:
    """A 503 for who reads it, the reason for the operator, in neither the token."""
    browser = Browser(world.service)
    came = world.leave("trusted", "vic", browser)
    world.issuer.spoil(nonce="x" * 43)
    answer = browser.open(came)
    world.issuer.spoil()
    assert answer.status == 503
    assert "Trusted did not answer as it should" in answer.text
    logged = world.service.complained()
    assert "Invalid claim: 'nonce'" in logged
    assert "eyJ" not in logged


def test_nothing_that_is_sent_says_where_to_go(world: World) -> None:
    """No parameter and no header changes where a log-in leads, or where a provider sends back to (row W-6)."""
    browser = Browser(world.service)
    left = browser.send("GET", "/console/oidc/trusted?next=https://evil.example&redirect_uri=https://evil.example")
    assert "evil" not in left.headers["location"]
    assert left.headers["location"].startswith(f"{world.issuer.url}/auth?")
    forwarded = browser.send("GET", "/console/oidc/trusted", X_Forwarded_Host="evil.example")
    assert "evil" not in forwarded.headers["location"]
    assert browser.open("/console/oidc/none").status == 404


def test_sessions_are_told_in_words_and_ended_together(world: World) -> None:
    """Which browser, which one is this, and all others at once."""
    wes = join(world.service, "wes@example.com")
    firefox = "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:135.0) Gecko/20100101 Firefox/135.0"
    other = Browser(world.service)
    csrf = re.search(r'name="csrf" value="(\w+)"', other.open("/console/log-in").text)
    assert csrf is not None
    body = f"csrf={csrf[1]}&email=wes@example.com&password={PASSWORD.replace(' ', '+')}"
    assert other.send("POST", "/console/log-in", body, User_Agent=firefox).status == 303
    page = wes.open("/console/me").text
    assert "Firefox on Windows" in page
    assert page.count("This one") == 1
    assert wes.submit("/console/me/sessions/end-others", page="/console/me").status == 303
    assert (wes.open("/console").status, other.open("/console").status) == (200, 303)
    assert "End all others" not in wes.open("/console/me").text
