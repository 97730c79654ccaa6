"""How it looks: nothing serious for axe, phone, large text, both schemes; pictures for the README."""

import os
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from cluster import Line

IMAGES = Path(__file__).resolve().parents[2] / "docs" / "images"
SAID = [
    ("dana", "Morning! The new rack is up. Three servers, three rooms, one extension cord. 😬"),
    ("luis", "As long as it is not **the same** extension cord."),
    ("dana", "About that…"),
    ("priya", "I pulled the plug of `server3` while the import was running:\n- nobody lost a message\n- "
     "the leader was another one after half a second\n- I have not told anybody yet"),
    ("luis", "> nobody lost a message\n\nThat is the whole point, and it still makes me happy every time."),
    ("priya", "@sam could you look at the graph from tonight? It is at https://status.example.org/night"),
    ("sam", "On it. Here is what I run:\n```\nsyncnet-admin status --json | jq .verdict\n```"),
    ("dana", "Then we ship on Monday."),
]


def axe_finds_nothing(page):
    found = Axe().run(page).response["violations"]
    serious = [
        (violation["id"], violation["help"], [node["target"] for node in violation["nodes"]][:5])
        for violation in found if violation["impact"] in ("serious", "critical")
    ]
    assert not serious, serious


def nothing_sticks_out(page):
    wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert wide <= 0, f"{wide} pixels to scroll sideways"


@pytest.fixture(scope="module")
def office(shared_cluster):
    lines = {name: Line(shared_cluster, 1, name) for name in ("dana", "luis", "priya", "sam")}
    for room in ("office", "operations", "random"):
        for line in lines.values():
            line.ask("create_join", room=room)
    lines["dana"].ask("topic", room="office", topic="Machines, cables, and what keeps us awake")
    seqs = [lines[name].ask("chat", room="office", body=body, client_msg_id=f"s{at}")["seq"]
            for at, (name, body) in enumerate(SAID)]
    for name in ("dana", "luis", "sam"):
        lines[name].ask("react", room="office", seq=seqs[3], emoji="🎉")
    lines["luis"].ask("react", room="office", seq=seqs[0], emoji="😂")
    lines["luis"].ask("chat", room="office", body="Monday it is.", client_msg_id="reply", reply_to=seqs[7])
    yield lines
    for line in lines.values():
        line.close()


def in_the_office(person, cluster, office):
    person.enter(cluster.url(0)).join("random").join("operations").join("office")
    expect(person.message("Monday it is.")).to_be_visible()
    office["dana"].ask("chat", room="operations", body=f"@{person.name} the disk of server2 is at 80 %", client_msg_id=person.name)
    office["luis"].ask("chat", room="random", body="Lunch?", client_msg_id=f"{person.name}1")
    office["luis"].ask("chat", to=person.name, body="Do you have a minute?", client_msg_id=f"{person.name}2")
    expect(person.page.get_by_role("link", name="@luis")).to_be_visible()
    person.page.wait_for_timeout(400)
    return person.page


@pytest.mark.parametrize("scheme, name", [("light", "mira"), ("dark", "noor")])
def test_wide(shared_cluster, office, people, scheme, name):
    mira = people(name, color_scheme=scheme)
    mira.page.goto(shared_cluster.url(0))
    axe_finds_nothing(mira.page)
    page = in_the_office(mira, shared_cluster, office)
    axe_finds_nothing(page)
    nothing_sticks_out(page)
    if os.environ.get("SYNCNET_PICTURES"):
        page.mouse.move(5, 795)
        page.screenshot(path=IMAGES / f"web-{scheme}.png")
    page.get_by_role("searchbox", name="Search").fill("extension")
    expect(page.get_by_role("region", name="Search results").get_by_role("article")).to_have_count(2)
    axe_finds_nothing(page)
    page.keyboard.press("Escape")
    for button in ("Settings", "Join or create", "Invite", "About this room"):
        page.get_by_role("button", name=button).click()
        expect(page.get_by_role("dialog")).to_be_visible()
        page.wait_for_timeout(200)
        axe_finds_nothing(page)
        page.keyboard.press("Escape")
    page.get_by_role("complementary", name="Members").get_by_role("button", name="dana").click()
    expect(page.get_by_role("dialog")).to_be_visible()
    axe_finds_nothing(page)


@pytest.mark.parametrize("scheme, name", [("light", "pia"), ("dark", "zoe")])
def test_phone(shared_cluster, office, people, scheme, name):
    pia = people(name, color_scheme=scheme, viewport={"width": 360, "height": 640}, has_touch=True)
    pia.page.goto(shared_cluster.url(0))
    nothing_sticks_out(pia.page)
    pia.enter(shared_cluster.url(0))
    pia.page.get_by_role("button", name="Join or create").click()
    nothing_sticks_out(pia.page)
    pia.page.get_by_role("textbox", name="Room").fill("office")
    pia.page.get_by_role("button", name="Join", exact=True).click()
    expect(pia.message("Monday it is.")).to_be_in_viewport()
    expect(pia.page.get_by_role("textbox", name="Message")).to_be_in_viewport()
    expect(pia.status()).to_be_in_viewport()
    axe_finds_nothing(pia.page)
    nothing_sticks_out(pia.page)
    pia.page.wait_for_timeout(300)
    if os.environ.get("SYNCNET_PICTURES") and scheme == "light":
        pia.page.mouse.move(5, 5)
        pia.page.wait_for_timeout(100)
        pia.page.screenshot(path=IMAGES / "web-phone.png")
    pia.page.get_by_role("button", name="Show rooms").click()
    link = pia.page.get_by_role("link", name="office")
    expect(link).to_be_in_viewport()
    axe_finds_nothing(pia.page)
    pia.page.get_by_role("button", name="Settings").click()
    nothing_sticks_out(pia.page)
    pia.page.keyboard.press("Escape")


@pytest.mark.parametrize("size", [{"width": 1280, "height": 800}, {"width": 360, "height": 640}])
def test_text_at_200_percent(shared_cluster, office, people, size):
    vera = people(f"vera-{size['width']}", viewport=size)
    vera.context.add_init_script("addEventListener('DOMContentLoaded', () => document.documentElement.style.fontSize = '200%')")
    vera.enter(shared_cluster.url(0)).join("office") if size["width"] > 700 else small_join(vera, shared_cluster)
    expect(vera.message("Monday it is.")).to_be_visible()
    nothing_sticks_out(vera.page)
    expect(vera.page.get_by_role("textbox", name="Message")).to_be_in_viewport()
    vera.say(f"large on {size['width']}")
    expect(vera.message(f"large on {size['width']}")).to_be_in_viewport()


def small_join(person, cluster):
    person.enter(cluster.url(0))
    person.page.get_by_role("button", name="Join or create").click()
    person.page.get_by_role("textbox", name="Room").fill("office")
    person.page.get_by_role("button", name="Join", exact=True).click()
