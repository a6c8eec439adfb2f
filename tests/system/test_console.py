"""The Console over HTTP, behind the real gateway: doors, sessions, forms of strangers, roles, the other tenant."""

from __future__ import annotations

import html
import json
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest
from forms import PASSWORD, Browser, join, letters, newest_link
from service import Service, serving, wait_until

from techstone.control.console import site

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with serving(tmp_path_factory.mktemp("console"), "[console]\nsign_up = true\n") as running:
        yield running


@pytest.fixture(scope="module")
def owner(service: Service) -> Browser:
    """Who claimed the cloud by the link of the first start."""
    found = re.search(r"(/console/link/[\w-]+)", service.printed())
    assert found is not None
    browser = Browser(service)
    assert "owner@localhost" in browser.open(found[1]).text
    assert browser.submit(found[1], email="ann@example.com", password=PASSWORD).status == 303
    assert browser.open(found[1]).status == 400
    return browser


def test_claim_leads_to_the_overview(owner: Browser) -> None:
    """Logged in at once; the root of the site leads there, too."""
    assert "ann@example.com" in owner.open("/console").text
    assert owner.open("/").headers["location"] == "/console"


def test_stranger_is_led_to_the_door(service: Service) -> None:
    """Every page inside, and no more of it than that."""
    for path in ("/console", "/console/keys", "/console/keys/new", "/console/usage", "/console/people", "/console/me"):
        answer = Browser(service).open(path)
        assert (answer.status, answer.headers["location"], answer.text) == (303, "/console/log-in", "")


def test_cookie_and_headers_are_strict(service: Service, owner: Browser) -> None:
    """HttpOnly, SameSite; nothing stored, framed or run that is not ours (rows W-3, W-4)."""
    visitor = Browser(service)
    answer = visitor.submit("/console/log-in", email="ann@example.com", password=PASSWORD)
    assert answer.status == 303
    name, *rules = answer.cookies[0].split("; ")
    assert re.fullmatch(r"techstone=[\w-]{43}", name)
    assert set(rules) == {"Path=/", "HttpOnly", "SameSite=lax"}
    behind = visitor.send("GET", "/console/log-in", X_Forwarded_Proto="https")
    assert "secure" not in "".join(behind.cookies).lower(), "a client's own header is nothing"
    for page in (owner.open("/console"), visitor.open("/console/log-in"), owner.open("/console/nothing")):
        policy = page.headers["content-security-policy"]
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert page.headers["x-content-type-options"] == "nosniff"
        assert page.headers["referrer-policy"] in {"same-origin", "no-referrer"}
    assert owner.open("/console").headers["cache-control"] == "no-store"


def test_log_in_gives_a_new_session_and_log_out_ends_it(service: Service, owner: Browser) -> None:
    """A token that was there before is not taken over (session fixation, row W-3)."""
    visitor = Browser(service)
    visitor.cookie = "techstone=" + "a" * 43
    visitor.submit("/console/log-in", email="ann@example.com", password=PASSWORD)
    assert visitor.cookie != "techstone=" + "a" * 43
    kept = visitor.cookie
    assert visitor.submit("/console/log-out", page="/console").status == 303
    visitor.cookie = kept
    assert visitor.open("/console").status == 303
    assert owner.open("/console").status == 200


FORMS = [
    "/console/keys/new", "/console/keys/key_x/rotate", "/console/keys/key_x/revoke", "/console/people",
    "/console/keys/key_x", "/console/keys/key_x/disable", "/console/keys/key_x/enable", "/console/projects",
    "/console/projects/proj_x", "/console/projects/proj_x/archive", "/console/projects/proj_x/restore",
    "/console/projects/proj_x/erase",
    "/console/people/invitations/00/withdraw",
    "/console/people/per_x/role", "/console/people/per_x/remove", "/console/people/two-factor",
    "/console/me/password", "/console/me/sessions/00/end", "/console/me/sessions/end-others",
    "/console/me/two-factor", "/console/me/two-factor/codes", "/console/me/two-factor/off",
    "/console/me/oidc/x/connect", "/console/me/oidc/x/disconnect", "/console/log-in/code",
    "/console/billing", "/console/billing/checkout", "/console/billing/cap", "/console/billing/buyer",
    "/console/operate/accounts", "/console/operate/accounts/acct_x/terms",
    "/console/operate/accounts/acct_x/credit", "/console/operate/accounts/acct_x/suspend", "/console/operate/codes",
    "/console/operate/codes/code_x/revoke", "/console/operate/providers/new", "/console/operate/providers/one/x",
    "/console/operate/providers/one/x/test", "/console/operate/providers/one/x/switch",
    "/console/operate/providers/one/x/remove", "/console/operate/providers/one/x/add", "/console/operate/models/new",
    "/console/operate/models/one", "/console/operate/models/switch", "/console/operate/models/remove",
    "/console/operate/prices/one", "/console/operate/prices/reset", "/console/operate/plans",
    "/console/operate/plans/change", "/console/operate/plans/remove", "/console/operate/switches",
    "/console/operate/keys", "/console/operate/keys/key_x/revoke", "/console/look-at", "/console/log-out",
    "/console/log-in",
    "/console/sign-up", "/console/reset", "/console/link/x", "/console/playground/key",
]  # fmt: skip


def test_every_form_is_tried_below() -> None:
    """A new one belongs into the list."""
    sources = [path.read_text() for path in Path(site.__file__).parent.glob("*.py")]
    assert sum(len(re.findall(r"@post\(", source)) for source in sources) == len(FORMS)


@pytest.mark.parametrize("path", FORMS)
def test_form_of_another_site_is_refused(owner: Browser, path: str) -> None:
    """Another origin, none, another site, another media type, no token, a token of another session (row W-1)."""
    own = re.search(r'name="csrf" value="(\w+)"', owner.open("/console").text)
    assert own is not None
    good = f"csrf={own[1]}"
    attempts: list[tuple[str, dict[str, str]]] = [
        (good, {"Origin": "https://evil.example"}),
        (good, {"Origin": "null"}),
        (good, {"Origin": ""}),
        (good, {"Sec_Fetch_Site": "cross-site"}),
        (good, {"Sec_Fetch_Site": "same-site"}),
        (good, {"Content_Type": "text/plain"}),
        (good, {"Content_Type": "multipart/form-data; boundary=x"}),
        ("", {}),
        ("csrf=" + "0" * 64, {}),
    ]
    assert [owner.send("POST", path, body, **headers).status for body, headers in attempts] == [403] * len(attempts)
    assert owner.open(path).status in {200, 303, 400, 404, 405}, "nothing changes by reading"


def test_key_is_shown_once_and_seen_at_work(service: Service, owner: Browser) -> None:
    """Made, copied into three snippets, watched until its first request; then rotated and revoked."""
    made = owner.submit("/console/keys/new", name="<b>ci</b>", expires="30d", rpm="5", daily_cap="1.5")
    found = re.search(r'<code id="key">(ts_live_\w+)</code>', made.text)
    assert found is not None
    assert made.text.count(found[1]) == 4
    assert "<b>ci" not in made.text
    watched = re.search(r"/console/keys/(key_\w+)/first", made.text)
    assert watched is not None
    assert "Waiting for the first request" in owner.open(watched[0]).text
    wait_until(lambda: service.chat(key=found[1])[0] == 200)
    wait_until(lambda: "The first request arrived" in owner.open(watched[0]).text)
    listed = owner.open("/console/keys").text
    assert found[1] not in listed
    rotated = owner.submit(f"/console/keys/{watched[1]}/rotate", page="/console/keys", overlap="0")
    fresh = re.search(r'<code id="key">(ts_live_\w+)</code>', rotated.text)
    assert fresh is not None
    wait_until(lambda: service.chat(key=found[1])[0] == 401)
    wait_until(lambda: service.chat(key=fresh[1])[0] == 200)


def test_playground_key_is_good_for_an_hour(service: Service, owner: Browser) -> None:
    """For the models alone, noted in the audit log, and shown among the keys until it has ended."""
    made = msgspec.json.decode(owner.submit("/console/playground/key", page="/console/playground").text)
    assert 3500 < made["expires_at"] - time.time() <= 3600
    wait_until(lambda: service.chat(key=made["key"])[0] == 200)
    assert "Playground (ann@example.com)" in owner.open("/console/keys").text
    acts = service.ask("audit", "list")
    assert any(act["action"] == "key.create" and "Playground (ann@example.com)" in str(act["detail"]) for act in acts)


def test_switches_close_what_they_name(owner: Browser) -> None:
    """The playground is gone from the rail, the palette and its address; credit is not sold; both are back at once."""
    page = "/console/operate/switches"
    for name in ("playground", "checkout"):
        assert owner.submit(page, name=name, on="false").status == 303
    assert owner.open("/console/playground").status == 404
    assert owner.submit("/console/playground/key", page="/console").status == 404
    assert "/console/playground" not in owner.open("/console").text
    assert '"Playground"' not in owner.open("/console/palette?find=playg").text
    assert owner.submit("/console/billing/checkout", page="/console", usd="10", order="x").status == 403
    for name in ("playground", "checkout"):
        assert owner.submit(page, name=name).status == 303
    assert owner.open("/console/playground").status == 200


def test_ended_playground_keys_are_left_out_of_the_list(service: Service, owner: Browser) -> None:
    """Nobody looks for them there; a link shows them."""
    made = service.ask(
        "key", "create", "--account", "owner@localhost", "--name", "Playground (gone)", "--expires", "1h"
    )
    assert service.run("key", "revoke", made["id"]).returncode == 0
    listed = owner.open("/console/keys").text
    assert "Playground (gone)" not in listed
    assert 'href="/console/keys?all"' in listed
    assert "Playground (gone)" in owner.open("/console/keys?all").text


def test_request_is_asked_again_by_what_is_known_of_it(service: Service, owner: Browser) -> None:
    """The detail's command has its model and kind, and its link leads to the playground with the model."""
    request_id = service.chat()[2]["x-request-id"]
    wait_until(lambda: owner.open(f"/console/logs/{request_id}").status == 200)
    page = html.unescape(owner.open(f"/console/logs/{request_id}").text)
    assert f"curl {service.url}/v1/chat/completions" in page
    assert '{"model":"gpt-4o","messages":[{"role":"user","content":"Hello!"}]}' in page
    assert 'href="/console/playground?model=gpt-4o"' in page
    assert '<option value="gpt-4o" selected>' in owner.open("/console/playground?model=gpt-4o").text


def test_models_tell_how_they_do(service: Service, owner: Browser) -> None:
    """What was measured of recent requests; a dash for what nobody has asked."""
    assert service.chat()[0] == 200
    wait_until(lambda: ">100.0 %<" in owner.open("/console/models").text)


@pytest.mark.parametrize(
    ("fields", "note"),
    [
        ({"name": ""}, "name must be"), ({"name": "x", "expires": "soon"}, "expires must be"),
        ({"name": "x", "rpm": "0"}, "rpm must be"), ({"name": "x", "models": "nothing-such"}, "nothing-such"),
        ({"name": "x", "monthly_cap": "-1"}, "monthly_cap"), ({"name": "x", "role": "owner"}, "role"),
    ],
)  # fmt: skip
def test_wrong_field_is_told_and_nothing_is_lost(owner: Browser, fields: dict[str, str], note: str) -> None:
    """A 400, in the page; what was typed stands there still. A field that is none is refused (row T-3)."""
    if fields["name"] == "":
        fields = {"name": "\x07"}
    answer = owner.submit("/console/keys/new", **fields)
    assert answer.status == 400
    assert note in answer.text


def test_key_is_changed_disabled_and_enabled_on_its_page(service: Service, owner: Browser) -> None:
    """In force within a second; what is wrong is told at its field, and nothing that was typed is lost."""
    made = owner.submit("/console/keys/new", name="paged", rpm="50", scope_chat="true")
    key, found = re.search(r"ts_live_\w{46}", made.text), re.search(r"/console/keys/(key_\w+)/first", made.text)
    assert key is not None
    assert found is not None
    page = f"/console/keys/{found[1]}"
    wait_until(lambda: service.chat(key=key[0])[0] == 200)
    assert service.get("/v1/models", key[0])[0] == 403
    wait_until(lambda: "Requests this month" in owner.open(page).text and ">never<" not in owner.open(page).text)
    wrong = owner.submit(page, name="kept", expires="keep", ips="192.0.2.1, there")
    assert wrong.status == 400
    assert 'id="ips-note"' in wrong.text
    assert "`there` is neither" in wrong.text
    assert 'value="kept"' in wrong.text
    assert owner.submit(page, name="changed", expires="keep", ips="192.0.2.1").status == 303
    wait_until(lambda: service.get("/v1/models", key[0])[0] == 403 and "192.0.2.1" in owner.open(page).text, 1.0)
    assert json.loads(service.get("/v1/models", key[0])[1])["error"]["code"] == "ip_not_authorized"
    assert owner.submit(page, name="changed", expires="keep").status == 303
    wait_until(lambda: service.get("/v1/models", key[0])[0] == 200, 1.0)
    assert owner.submit(f"{page}/disable", page=page).status == 303
    wait_until(lambda: service.chat(key=key[0])[0] == 403, 1.0)
    assert "Enable" in owner.open(page).text
    assert owner.submit(f"{page}/enable", page=page).status == 303
    wait_until(lambda: service.chat(key=key[0])[0] == 200, 1.0)
    assert owner.submit(f"{page}/revoke", page=page).status == 303
    assert "Save" not in owner.open(page).text
    assert owner.submit(f"{page}/enable", page="/console").status == 400


def test_project_sums_what_its_keys_cost(service: Service, owner: Browser) -> None:
    """On its page, in usage and its CSV, to the last digit of the ledger; logs show its keys' requests alone."""
    assert owner.submit("/console/projects", name="web <1>").status == 303
    again = owner.submit("/console/projects", name="web <1>")
    assert again.status == 400
    assert "There is a project `web &lt;1&gt;` already" in again.text
    (project,) = service.ask("project", "list", "--account", "owner@localhost")
    made = owner.submit("/console/keys/new", name="in it", project=project["id"])
    key = re.search(r"ts_live_\w{46}", made.text)
    assert key is not None
    assert service.chat(key=key[0])[0] == service.chat()[0] == 200
    wait_until(lambda: "No project" in owner.open("/console/usage?by=project").text)
    wait_until(lambda: _rows(service, project["id"]) == 1)
    (row,) = service.ask("usage", "--account", "owner@localhost", "--by", "model", "--project", project["id"])
    sums = {one["group"]: one for one in service.ask("usage", "--account", "owner@localhost", "--by", "project")}
    assert {**sums[project["id"]], "group": ""} == {**row, "group": ""}
    text = owner.open("/console/usage/usage.csv?span=24h&by=project").text
    assert f"web <1>,1,{row['prompt_tokens']},{row['cached_tokens']},{row['completion_tokens']}," in text
    assert "No project," in text
    page = owner.open(f"/console/usage?by=model&project={project['id']}").text
    assert f'<td class="number">{row["requests"]}</td>' in page
    logs = owner.open(f"/console/logs?project={project['id']}").text
    assert logs.count("<tr data-id=") == 1
    assert owner.open("/console/logs?project=proj_none").status == 404
    path = f"/console/projects/{project['id']}"
    assert owner.submit(path, page=path, name="\x07").status == 400
    assert owner.submit(path, page=path, name="site").status == 303
    assert owner.submit(f"{path}/archive", page="/console/projects").status == 303
    assert "site" not in owner.open("/console/keys/new").text
    assert service.chat(key=key[0])[0] == 200
    assert owner.submit(f"{path}/restore", page="/console/projects").status == 303
    assert ">site</option>" in owner.open("/console/keys/new").text


def _rows(service: Service, project: str) -> int:
    asked = ("--account", "owner@localhost", "--project", project)
    return sum(row["requests"] for row in service.ask("usage", *asked))


def test_documentation_has_the_readers_own_key(service: Service, owner: Browser) -> None:
    """Its hint, in what is to be pasted; for strangers the form of one, and in no other place."""
    keys = service.ask("key", "list", "--account", "owner@localhost")
    hint = [key["hint"] for key in keys if key["state"] == "active" and "Playground" not in key["name"]][-1]
    own, strange = (browser.open("/docs/quickstart").text for browser in (owner, Browser(service)))
    assert f'TECHSTONE_API_KEY="{hint}"' in html.unescape(re.sub(r"<[^>]+>", "", own))
    assert hint not in strange
    assert 'TECHSTONE_API_KEY="ts_live_..."' in html.unescape(re.sub(r"<[^>]+>", "", strange))


def test_usage_is_what_the_ledger_says(service: Service, owner: Browser) -> None:
    """To the last digit, on the page and as CSV."""
    sums = service.ask("usage", "--since", "24h", "--account", "owner@localhost")
    page = owner.open("/console/usage?span=24h&by=model").text
    text = owner.open("/console/usage/usage.csv?span=24h&by=model").text
    for row in sums:
        assert f'<td class="number">{row["requests"]}</td>' in page
        assert f"{row['group']},{row['requests']},{row['prompt_tokens']}," in text
        assert row["cost"] in text
    for by, form in (("hour", r"\d{4}-\d\d-\d\d \d\d:00"), ("day", r"\d{4}-\d\d-\d\d")):
        assert re.search(rf'<th scope="row">{form}</th>', owner.open(f"/console/usage?by={by}").text)
    assert owner.open("/console/usage?span=1y").status == 400


def test_other_tenant_is_out_of_reach(service: Service, owner: Browser) -> None:
    """Keys, members, usage of another account: 404 or not there, on every route with an id (row T-1)."""
    bob = join(service, "bob@example.com")
    key = service.ask("key", "list", "--account", "owner@localhost")[0]["id"]
    person = re.search(r"/console/people/(per_\w+)/", owner.open("/console/people").text)
    for page in ("/console", "/console/keys", "/console/usage?span=90d&by=key", "/console/people", "/console/me"):
        text = bob.open(page).text
        assert "ann@example.com" not in text
        assert key not in text
    assert bob.open(f"/console/keys/{key}/first").status == 404
    project = service.ask("project", "create", "owner's own", "--account", "owner@localhost")["id"]
    assert "owner&#39;s own" not in bob.open("/console/projects").text
    assert bob.open(f"/console/keys/{key}").status == 404
    assert bob.open(f"/console/projects/{project}").status == 404
    for page in (f"/console/usage?project={project}", f"/console/logs?project={project}"):
        assert bob.open(page).status == 404
    assert bob.submit("/console/keys/new", name="x", project=project).status == 404
    for path in (
        *(f"/console/keys/{key}/{verb}" for verb in ("revoke", "rotate", "disable", "enable")),
        *(f"/console/projects/{project}/{verb}" for verb in ("archive", "restore")),
        f"/console/keys/{key}",
        f"/console/projects/{project}",
    ):
        assert bob.submit(path, page="/console").status == 404
    account = service.ask("account", "show", "owner@localhost")["id"]
    assert bob.submit("/console/look-at", page="/console", account=account).status == 400
    assert person is None, "there is nobody else to be changed in the owner's account"


def test_every_change_is_in_the_audit_log(service: Service, owner: Browser) -> None:
    """By whom, from where, of what; found by its kind; a file of it; the chain is whole; nothing of a key is in it."""
    made = owner.submit("/console/keys/new", name="noted")
    key = re.search(r"ts_live_\w+", made.text)
    which = re.search(r"/console/keys/(key_\w+)/first", made.text)
    assert key is not None
    assert which is not None
    owner.submit(f"/console/keys/{which[1]}/revoke", page="/console/keys")
    for path in ("/console/audit", "/console/operate/audit"):
        text = owner.open(f"{path}?action=key.revoke").text
        row = text.partition("<tbody>")[2].partition("</tr>")[0]
        for words in ("ann@example.com", "key: revoke", which[1], "name: noted", "127.0.0.1"):
            assert words in row, words
        assert "key: create" not in text.partition("<tbody>")[2]
        assert key[0] not in owner.open(path).text
    file = owner.open("/console/audit/audit.csv?action=key")
    assert file.headers["content-type"].startswith("text/csv")
    assert file.text.startswith("number,at,actor_kind,actor,address,account,action,target,detail,digest\r\n")
    assert "No such change" in owner.open("/console/audit?actor=nobody@example.com").text
    assert owner.open("/console/audit?before=x").status == 400
    assert "is whole" in service.run("audit", "check").stdout
    assert "key.revoke" in service.run("audit", "list", "--action", "key").stdout


def test_invitation_is_seen_withdrawn_and_ends_with_who_sent_it(service: Service, owner: Browser) -> None:
    """By who may invite, and nobody else; the links are good no more, and it is in the audit log."""
    links = []
    for email, role in (("una@example.com", "admin"), ("gone@example.com", "viewer")):
        before = len(letters(service))
        assert owner.submit("/console/people", email=email, role=role).status == 200
        links.append(newest_link(service, before + 1))
    page = owner.open("/console/people").text
    assert re.search(r"una@example\.com</th><td>admin</td><td>\d+ \w{3} \d{4}<", page)
    withdraw = re.search(r'action="(/console/people/invitations/\w+/withdraw)" data-ask="[^"]+gone@', page)
    assert withdraw is not None
    una = Browser(service)
    assert una.submit(links[0], password=PASSWORD).status == 303
    before = len(letters(service))
    assert una.submit("/console/people", email="una2@example.com", role="admin").status == 200
    links.append(newest_link(service, before + 1))
    assert una.submit(withdraw[1], page="/console/people").status == 303
    assert una.submit(withdraw[1], page="/console/people").status == 400
    assert "gone@example.com" not in owner.open("/console/people").text
    assert "link.withdraw" in owner.open("/console/audit").text
    twice = owner.submit("/console/people", email="una@example.com", role="viewer")
    assert (twice.status, "belongs to this account already" in twice.text) == (400, True)
    person = re.search(r"/console/people/(per_\w+)/remove", owner.open("/console/people").text)
    assert person is not None
    assert owner.submit(f"/console/people/{person[1]}/remove", page="/console/people").status == 303
    assert "No invitation is waiting" in owner.open("/console/people").text
    assert [Browser(service).open(link).status for link in links] == [400, 400, 400]


def test_role_bounds_what_a_member_may_do(service: Service, owner: Browser) -> None:
    """A viewer reads; makes no key, invites nobody, changes no role, and cannot make themselves an owner (row T-3)."""
    before = len(letters(service))
    assert (
        "invitation is good for a week" in owner.submit("/console/people", email="vic@example.com", role="viewer").text
    )
    viewer = Browser(service)
    link = newest_link(service, before + 1)
    assert viewer.submit(link, password=PASSWORD).status == 303
    assert viewer.open("/console/keys").status == 200
    assert "New key" not in viewer.open("/console/keys").text
    key = service.ask("key", "list", "--account", "owner@localhost")[0]["id"]
    assert "Save" not in viewer.open(f"/console/keys/{key}").text
    assert "New project" not in viewer.open("/console/projects").text
    for path, fields in (
        (f"/console/keys/{key}", {"name": "x"}),
        (f"/console/keys/{key}/disable", {}),
        ("/console/projects", {"name": "x"}),
        ("/console/keys/new", {"name": "x"}),
        ("/console/people", {"email": "x@example.com", "role": "viewer"}),
    ):
        assert viewer.submit(path, page="/console", **fields).status == 403
    assert viewer.open("/console/keys/new").status == 403
    assert [viewer.open(path).status for path in ("/console/audit", "/console/operate/audit")] == [403, 403]
    vic = re.search(r"/console/people/(per_\w+)/role", owner.open("/console/people").text)
    assert vic is not None
    assert viewer.submit(f"/console/people/{vic[1]}/role", page="/console", role="owner").status == 403
    assert owner.submit(f"/console/people/{vic[1]}/role", page="/console/people", role="admin").status == 303
    assert viewer.open("/console/keys/new").status == 200
    own = re.search(r"you</span></th><td>admin", viewer.open("/console/people").text)
    assert own is not None
    assert viewer.submit(f"/console/people/{vic[1]}/role", page="/console", role="owner").status == 400
    assert owner.submit(f"/console/people/{vic[1]}/remove", page="/console/people").status == 303
    assert "You belong to no account" in viewer.open("/console").text


def test_form_is_no_larger_than_a_form(service: Service) -> None:
    """Nobody is logged in for it, and what a form is read into is some twenty times as large."""
    browser = Browser(service)
    assert browser.submit("/console/log-in", email="x" * 70_000).status == 413
    assert browser.submit("/console/log-in", **{f"f{number}": "" for number in range(1000)}).status == 400
    assert "Log in" in browser.open("/console/log-in").text


def test_link_is_not_in_the_log(service: Service, owner: Browser) -> None:
    """Its letter is for one; whoever reads the log is another."""
    before = len(letters(service))
    owner.submit("/console/people", email="lin@example.com", role="viewer")
    link = newest_link(service, before + 1)
    assert Browser(service).open(link).status == 200
    wait_until(lambda: "/console/link/[redacted]" in service.complained())
    assert link not in service.printed() + service.complained()


def test_member_makes_no_admin_key(service: Service, owner: Browser) -> None:
    """It would do what an admin of the account may: see money, and who belongs to it (row T-3)."""
    before = len(letters(service))
    owner.submit("/console/people", email="mel@example.com", role="member")
    member = Browser(service)
    assert member.submit(newest_link(service, before + 1), password=PASSWORD).status == 303
    assert "Management:" not in member.open("/console/keys/new").text
    assert member.submit("/console/keys/new", name="x", kind="admin").status == 403
    key = service.ask("key", "create", "--account", "owner@localhost", "--admin", "--name", "ops")["id"]
    for step in ("rotate", "disable", "enable", "revoke"):
        assert member.submit(f"/console/keys/{key}/{step}", page="/console").status == 403
    for page in ("/console/keys", f"/console/keys/{key}"):
        assert f"/console/keys/{key}/" not in member.open(page).text
    assert member.submit(f"/console/keys/{key}", page="/console", name="y", expires="keep").status == 403
    assert owner.submit("/console/keys/new", name="x", kind="admin").status == 200


def test_operator_opens_an_account_and_pays_it_a_code(service: Service, owner: Browser) -> None:
    """With terms, credit and suspension; a code is redeemed once. Whoever is no operator sees none of these pages."""
    opened = owner.submit("/console/operate/accounts", email="eve@example.com", plan="pay-as-you-go", credit="1.5")
    assert "eve@example.com" in owner.open("/console/operate/accounts?find=EVE").text
    assert "holds this" in owner.open("/console/operate/accounts?find=nobody").text
    path = opened.headers["location"]
    assert owner.submit(f"{path}/terms", page=path, plan="pro", rpm="7", monthly_cap="20").status == 303
    assert owner.submit(f"{path}/credit", page=path, usd="0.5").status == 303
    assert owner.submit(f"{path}/suspend", page=path).status == 303
    shown = service.ask("account", "show", "eve@example.com")
    assert (shown["plan"], shown["rpm"], shown["monthly_cap"], shown["credit"]) == ("pro", 7, "20.00", "2.00")
    assert shown["suspended"]
    assert owner.submit(f"{path}/resume", page=path).status == 303
    assert "usd must be" in owner.submit(f"{path}/credit", page=path, usd="0").text
    eve = join(service, "eve@example.com")
    made = owner.submit("/console/operate/codes", usd="3", count="2")
    code, other = re.findall(r"ts_code_\w+", made.text)
    assert "3.00 USD are added" in eve.submit("/console/billing", code=code).text
    assert "is not good" in eve.submit("/console/billing", code=code).text
    listed = owner.open("/console/operate/codes").text
    assert other not in listed
    assert service.ask("account", "show", "eve@example.com")["credit"] == "5.00"
    assert service.ask("ledger", "check") == []
    for page in ("/console/operate/accounts", path, "/console/operate/codes"):
        assert eve.open(page).status == 403
    assert eve.submit(f"{path}/credit", page="/console", usd="100").status == 403


def test_new_password_ends_the_sessions_of_the_old_one(service: Service) -> None:
    """By the form, and by a link that is asked for; the answer to the wish is the same for anybody (row A-3)."""
    cat, other = join(service, "cat@example.com"), Browser(service)
    other.submit("/console/log-in", email="cat@example.com", password=PASSWORD)
    assert cat.submit("/console/me/password", page="/console/me", known="x", password="y" * 12).status == 400
    changed = cat.submit("/console/me/password", page="/console/me", known=PASSWORD, password="another good one")
    assert "Your password is changed" in changed.text
    assert (cat.open("/console").status, other.open("/console").status) == (200, 303)
    before = len(letters(service))
    told = {
        re.sub(r"\w+@example.com", "", Browser(service).submit("/console/reset", email=address).text)
        for address in ("cat@example.com", "nobody@example.com")
    }
    assert len(told) == 1
    fresh = Browser(service)
    assert fresh.submit(newest_link(service, before + 1), password="a third good one").status == 303
    assert cat.open("/console").status == 303


def test_guesses_are_slowed(service: Service, owner: Browser) -> None:
    """After five in a row they are told to wait, longer and longer (row A-3)."""
    visitor = Browser(service)
    statuses = [
        visitor.submit("/console/log-in", email="dan@example.com", password="wrong wrong").status for _ in range(12)
    ]
    assert statuses[:5] == [400] * 5
    assert set(statuses[5:]) >= {429}
    assert owner.open("/console").status == 200


def test_palette_finds_what_the_role_may_see(service: Service, owner: Browser) -> None:
    """Pages, keys by name and hint, models, a request by its id, and what can be done; no more than that."""
    key = service.ask("key", "list", "--account", "owner@localhost")[0]

    def find(browser: Browser, words: str) -> list[dict[str, str]]:
        found: list[dict[str, str]] = msgspec.json.decode(browser.open(f"/console/palette?find={words}").text)
        return found

    assert {entry["group"] for entry in find(owner, "")} == {"Pages", "Operate", "Actions"}
    assert [entry["hint"] for entry in find(owner, key["hint"])] == [key["hint"]]
    assert {"group": "Models", "label": "gpt-4o", "hint": "engine", "href": "/console/models#gpt-4o"} in find(
        owner, "gpt-4o"
    )
    assert find(owner, "req_abc")[0]["href"] == "/console/logs/req_abc"
    assert find(owner, "log+out")[-1] == {"group": "Actions", "label": "Log out", "form": "/console/log-out"}
    before = len(letters(service))
    owner.submit("/console/people", email="zoe@example.com", role="billing")
    zoe = Browser(service)
    assert zoe.submit(newest_link(service, before + 1), password=PASSWORD).status == 303
    seen = {entry["label"] for words in ("", "e", "key", "req_abc") for entry in find(zoe, words)}
    assert {"Billing", "Redeem a code"} <= seen
    assert seen.isdisjoint({"Keys", "Logs", "Playground", "Create a key", "Accounts", "req_abc", key["name"]})
    assert zoe.open("/console/playground").status == 403
