"""The dashboard: what it says when servers come and go, who sees it, and how it looks."""

import contextlib
import math
import os
import re
import subprocess
import time

import pytest
from playwright.sync_api import expect

from cluster import PROGRAMS, Line
from test_look import IMAGES, axe_finds_nothing, nothing_sticks_out

# The headers that a proxy adds for a user who is not at the server's machine.
ELSEWHERE = {"X-Forwarded-For": "192.0.2.7"}


def open_dashboard(person, cluster, place=0):
    person.page.goto(cluster.url(place) + "dashboard")
    expect(person.page.get_by_role("table", name="Servers")).to_be_visible()
    return person.page


def row(page, server):
    return page.get_by_role("table", name="Servers").get_by_role("row").filter(has_text=server)


def all_is_well(page):
    """The cluster is; the disk of the machine that runs the tests may be as full as it likes."""
    expect(page.get_by_role("status", name="Verdict")).to_contain_text("3 of 3 servers, server3 leads", timeout=60_000)
    others = page.get_by_role("region", name="Warnings").get_by_role("listitem").filter(has_not_text="The disk of")
    expect(others).to_have_count(0, timeout=30_000)


def add_account(cluster, name, *flags):
    subprocess.run(
        [
            PROGRAMS / "syncnet-admin", "user", "add", name, "--password-stdin", *flags,
            "--config", cluster.path / "config.json", "--secret-file", cluster.path / "data" / "cluster.secret",
        ],
        input=b"long enough\n", check=True, stdout=subprocess.DEVNULL,
    )


def test_it_follows_what_happens(cluster, people):
    olga = people("olga")
    page = open_dashboard(olga, cluster)
    all_is_well(page)
    leader = page.get_by_role("table", name="Servers").get_by_role("row").filter(has_text="LEADER")
    expect(leader).to_have_count(1)
    expect(row(page, "server3")).to_contain_text("LEADER")
    expect(row(page, "server1")).to_contain_text("FOLLOWER")
    expect(page.get_by_role("img", name="Ring")).to_have_accessible_name("Ring: server3 leads")
    line = Line(cluster, 1, "walter")
    line.ask("create_join", room="dashboard")
    for number in range(20):
        line.ask("chat", room="dashboard", body=f"message {number}", client_msg_id=str(number))
    expect(row(page, "server2").get_by_role("cell").nth(4)).to_have_text("1")
    expect(page.get_by_role("img", name=re.compile("^Messages a second, last: server1 .+ server3 "))).to_be_visible()

    cluster.kill(2)
    expect(row(page, "server3")).to_contain_text("OFFLINE", timeout=30_000)
    warnings = page.get_by_role("region", name="Warnings")
    expect(warnings).to_contain_text("server3 is not heard.")
    expect(warnings).to_contain_text("Start it again")
    expect(page.get_by_role("img", name="Ring")).to_have_accessible_name(
        re.compile("^Ring: server[12] leads; not heard: server3$"), timeout=30_000)
    expect(page.get_by_role("table", name="Elections")).to_contain_text("the leader's process was gone", timeout=30_000)
    cluster.kill(1)
    expect(page.get_by_role("status", name="Verdict")).to_contain_text("Nobody can write", timeout=30_000)
    expect(warnings).to_contain_text("No server leads")
    axe_finds_nothing(page)
    # Without the server that it asks, the page claims nothing, and leads to the others.
    cluster.kill(0)
    expect(page.get_by_role("status", name="Verdict")).to_contain_text("not known here", timeout=30_000)
    expect(page.get_by_role("status", name="Connection")).to_contain_text("What stands here is from")
    expect(page.get_by_role("link", name="server2")).to_have_attribute("href", cluster.url(1) + "dashboard")
    axe_finds_nothing(page)
    cluster.start_all()
    all_is_well(page)
    expect(page.get_by_role("link", name="server2")).to_have_count(0)
    # What it drew is there after a reload, because the server keeps it.
    page.reload()
    expect(page.get_by_role("table", name="Elections").get_by_role("row")).not_to_have_count(2)
    line.close()


def test_from_elsewhere_administrators_only(shared_cluster, people):
    add_account(shared_cluster, "root", "--admin")
    add_account(shared_cluster, "user")
    away = people("away", extra_http_headers=ELSEWHERE)
    page = away.page
    answer = page.goto(shared_cluster.url(0) + "dashboard")
    assert answer.status == 403
    expect(page.get_by_text("only administrators")).to_be_visible()
    axe_finds_nothing(page)

    def enter(name, password="long enough"):
        page.get_by_role("textbox", name="Name").fill(name)
        page.get_by_label("Password").fill(password)
        page.get_by_role("button", name="Enter").click()

    enter("user")
    expect(page.get_by_role("alert")).to_contain_text("only an administrator")
    enter("root", "wrong and long")
    expect(page.get_by_role("alert")).not_to_be_empty()
    enter("root")
    expect(page.get_by_role("table", name="Servers")).to_be_visible()
    [cookie] = away.context.cookies()
    assert cookie["httpOnly"] and cookie["sameSite"] == "Strict", cookie
    assert page.evaluate("document.cookie") == ""
    page.reload()
    expect(row(page, "server1")).to_be_visible()
    page.get_by_role("button", name="Log out").click()
    expect(page.get_by_role("button", name="Enter")).to_be_visible()
    page.reload()
    expect(page.get_by_role("button", name="Enter")).to_be_visible()


@pytest.fixture(scope="module")
def something_to_see(shared_cluster):
    """For pictures: a minute and a half of talk, now more, now less."""
    if not os.environ.get("SYNCNET_PICTURES"):
        yield
        return
    lines = [Line(shared_cluster, place, f"talker{place}") for place in (0, 1, 1, 2)]
    for line in lines:
        line.ask("create_join", room="talk")
    until = time.monotonic() + 90
    number = 0
    while (now := time.monotonic()) < until:
        for line in lines:
            # A machine that is busy may refuse; that belongs to the picture.
            with contextlib.suppress(AssertionError):
                line.ask("chat", room="talk", body="Is it on?", client_msg_id=str(number))
            number += 1
        time.sleep(0.02 + 0.06 * (1 + math.sin(now / 12)))
    yield
    for line in lines:
        line.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name, size", [("wide", (1280, 1000)), ("phone", (360, 640))])
def test_look(shared_cluster, something_to_see, people, scheme, name, size):
    person = people(f"{name}-{scheme}", color_scheme=scheme, viewport={"width": size[0], "height": size[1]})
    page = open_dashboard(person, shared_cluster)
    all_is_well(page)
    axe_finds_nothing(page)
    nothing_sticks_out(page)
    if os.environ.get("SYNCNET_PICTURES") and (name, scheme) != ("phone", "dark"):
        page.screenshot(path=IMAGES / f"dashboard-{name}-{scheme}.png", full_page=True)
    page.evaluate("document.documentElement.style.fontSize = '200%'")
    nothing_sticks_out(page)
    expect(row(page, "server1")).to_be_visible()
