"""What one notices in the first hour: things that are covered, lost or out of reach."""

import re

from playwright.sync_api import expect

from cluster import Line

PLACE = re.compile(r"\d+")
SOME_FILES = [
    {"name": "notes.txt", "mimeType": "text/plain", "buffer": b"some words\n" * 100},
    {"name": "plan.txt", "mimeType": "text/plain", "buffer": b"more words\n" * 100},
]


def react(person, text, emoji):
    message = person.message(text).first
    message.hover()
    message.get_by_role("button", name="React").click()
    person.page.get_by_role("button", name=emoji, exact=True).click()


def test_reactions_are_chosen_by_mouse_wherever_the_message_stands(shared_cluster, people):
    ada = people("ada").enter(shared_cluster.url(0)).join("picking")
    ben = people("ben2").enter(shared_cluster.url(1)).join("picking")
    for number in range(30):
        ada.say(f"line {number} of many")
    expect(ben.message("line 29")).to_be_visible()
    # The messages below do not cover what hangs out of this one, and at the end there is room above.
    react(ben, "line 20", "👀")
    react(ben, "line 29", "👍")
    expect(ada.message("line 20").get_by_role("button", name="👀 1")).to_be_visible()
    expect(ada.message("line 29").get_by_role("button", name="👍 1")).to_be_visible()
    # Somebody else is quicker: one can still choose.
    message = ada.message("line 20")
    message.hover()
    message.get_by_role("button", name="React").click()
    react(ben, "line 20", "🎉")
    expect(message.get_by_role("button", name="🎉 1")).to_be_visible()
    ada.page.get_by_role("button", name="😂", exact=True).click()
    expect(ben.message("line 20").get_by_role("button", name="😂 1")).to_be_visible()
    # There are more than the first ones, for the keyboard too.
    message.get_by_role("button", name="React").press("Enter")
    ada.page.get_by_role("button", name="More emoji").press("Enter")
    ada.page.get_by_role("button", name="🚀", exact=True).press("Enter")
    expect(ben.message("line 20").get_by_role("button", name="🚀 1")).to_be_visible()


def test_a_finger_that_shows_the_buttons_presses_none(shared_cluster, people):
    line = Line(shared_cluster, 1, "uli")
    line.ask("create_join", room="tapping")
    vera = people("vera2", viewport={"width": 375, "height": 667}, has_touch=True, is_mobile=True)
    vera.enter(shared_cluster.url(0)).join_on_phone("tapping")
    line.ask("chat", room="tapping", body="tap me", client_msg_id="tap")
    expect(vera.message("tap me")).to_be_visible()
    box = vera.message("tap me").get_by_role("button", name="Reply").bounding_box()
    vera.page.touchscreen.tap(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    expect(vera.message("tap me").get_by_role("group", name="Actions")).to_have_css("opacity", "1")
    expect(vera.page.get_by_text("Answer to")).to_have_count(0)
    vera.page.touchscreen.tap(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    expect(vera.page.get_by_text("Answer to")).to_be_visible()
    line.close()


def test_what_is_typed_narrows_the_rooms_down(shared_cluster, people):
    line = Line(shared_cluster, 1, "wim")
    for room in ("narrow-apple", "narrow-pear"):
        line.ask("create_join", room=room)
    xena = people("xena").enter(shared_cluster.url(0))
    xena.page.get_by_role("button", name="Find a room").click()
    dialog = xena.page.get_by_role("dialog")
    expect(dialog.get_by_role("button", name="narrow-pear")).to_be_visible()
    dialog.get_by_role("textbox", name="Room").fill("Apple")
    expect(dialog.get_by_role("button", name="narrow-pear")).to_be_hidden()
    dialog.get_by_role("button", name="narrow-apple").click()
    expect(xena.page.get_by_role("heading", name="narrow-apple")).to_be_visible()
    line.close()


def test_what_is_typed_into_an_edit_stays_whatever_happens_to_the_message(shared_cluster, people):
    cleo = people("cleo").enter(shared_cluster.url(0)).join("editing")
    dora = people("dora").enter(shared_cluster.url(1)).join("editing")
    cleo.say("to be edited")
    for number in range(40):
        dora.say(f"filler {number}")
    expect(cleo.message("filler 39")).to_be_visible()
    cleo.page.get_by_role("textbox", name="Message").press("ArrowUp")
    field = cleo.page.get_by_role("textbox", name="Edit message")
    expect(field).to_be_focused()
    expect(field).to_be_in_viewport()
    field.fill("half of it")
    react(dora, "to be edited", "👍")
    dora.say("one more")
    expect(cleo.log().get_by_role("button", name="👍 1")).to_have_count(0)
    cleo.page.wait_for_timeout(300)
    expect(field).to_be_focused()
    expect(field).to_have_value("half of it")
    field.press("Enter")
    expect(dora.message("half of it")).to_contain_text("edited")
    # Back where one was.
    expect(cleo.message("one more")).to_be_in_viewport()


def test_marks_that_pile_up_cover_nothing(shared_cluster, people):
    line = Line(shared_cluster, 1, "piler")
    line.ask("create_join", room="piles")
    line.ask("chat", room="piles", body="a" + "\u0300" * 8000, client_msg_id="pile")
    line.ask("topic", room="piles", topic="x" * 250)
    eve = people("eve").enter(shared_cluster.url(0)).join("piles")
    expect(eve.log().get_by_text("set the topic")).to_be_visible()
    text = eve.log().locator("article .message-text").first
    assert text.evaluate("node => getComputedStyle(node).overflowY") == "clip"
    assert eve.log().evaluate("node => node.scrollWidth - node.clientWidth") <= 0
    line.close()


def test_those_who_come_one_after_the_other_stand_in_one_line(shared_cluster, people):
    lines = [Line(shared_cluster, place % 3, f"guest{place}") for place in range(7)]
    for line in lines[:6]:
        line.ask("create_join", room="arrivals")
    tom = people("tom").enter(shared_cluster.url(0)).join("arrivals")
    expect(tom.log().get_by_text("guest0, guest1, guest2, guest3 and 3 others joined")).to_be_visible()
    tom.say("welcome all")
    expect(tom.message("welcome all")).to_have_attribute("data-seq", PLACE)
    lines[6].ask("create_join", room="arrivals")
    expect(tom.log().get_by_text("guest6 joined", exact=True)).to_be_visible()
    for line in lines:
        line.close()


def test_files_and_answers_wait_in_their_room(shared_cluster, people):
    fay = people("fay").enter(shared_cluster.url(0)).join("second").join("first")
    fay.say("a question")
    fay.message("a question").get_by_role("button", name="Reply").click()
    fay.page.locator("input[type=file]").set_input_files(SOME_FILES)
    remove = fay.page.get_by_role("button", name="Remove")
    expect(remove).to_have_count(2)
    fay.page.get_by_role("link", name="second").click()
    expect(fay.page.get_by_role("heading", name="second")).to_be_visible()
    expect(remove).to_have_count(0)
    fay.page.get_by_role("link", name="first").click()
    expect(remove).to_have_count(2)
    fay.say("an answer")
    # What was sent arrives where it was written, wherever one is by then.
    fay.page.get_by_role("link", name="second").click()
    fay.page.get_by_role("link", name="first").click()
    expect(fay.message("an answer")).to_contain_text("a question")
    expect(fay.message("notes.txt")).to_have_attribute("data-seq", PLACE)
    expect(fay.message("plan.txt")).to_have_attribute("data-seq", PLACE)


DROP = """(place, name) => {
  const data = new DataTransfer();
  data.items.add(new File(["words"], name, {type: "text/plain"}));
  for (const type of ["dragover", "drop"]) {
    const event = new DragEvent(type, {dataTransfer: data, bubbles: true, cancelable: true});
    if (place.dispatchEvent(event)) throw new Error(`${type} is left to the browser`);
  }
}"""
PASTE = """(field, [type, text]) => {
  const data = new DataTransfer();
  data.items.add(new File(["picture"], "image.png", {type: "image/png"}));
  if (text) data.setData("text/plain", text);
  if (text) data.setData("text/html", `<b>${text}</b>`);
  return field.dispatchEvent(new ClipboardEvent("paste", {clipboardData: data, bubbles: true, cancelable: true}));
}"""


def test_a_file_may_fall_anywhere_and_text_with_a_picture_of_it_is_text(shared_cluster, people):
    gil = people("gil").enter(shared_cluster.url(0)).join("dropping")
    gil.page.get_by_role("navigation", name="Rooms").evaluate(DROP, "beside.txt")
    expect(gil.page.get_by_role("button", name="Remove")).to_have_count(1)
    field = gil.page.get_by_role("textbox", name="Message")
    assert field.evaluate(PASTE, ["both", "cells of a table"]), "the browser pastes the text"
    expect(gil.page.get_by_role("button", name="Remove")).to_have_count(1)
    assert not field.evaluate(PASTE, ["picture", ""])
    expect(gil.page.get_by_role("button", name="Remove")).to_have_count(2)


def test_typing_is_told_right_after_a_message(shared_cluster, people):
    hal = people("hal2").enter(shared_cluster.url(0)).join("typing")
    ida = people("ida").enter(shared_cluster.url(1)).join("typing")
    hal.say("first")
    expect(ida.message("first")).to_be_visible()
    # Servers pass on one sign of it in a second.
    hal.page.wait_for_timeout(1_200)
    hal.page.get_by_role("textbox", name="Message").press_sequentially("and")
    expect(ida.page.get_by_text("hal2 is typing")).to_be_visible(timeout=2_000)


def test_a_refusal_is_seen_above_the_dialog(shared_cluster, people):
    jan = people("jan").enter(shared_cluster.url(0)).join("refusing")
    people("kay").enter(shared_cluster.url(0)).join("taken")
    jan.page.get_by_role("button", name="About this room").click()
    dialog = jan.page.get_by_role("dialog")
    dialog.get_by_text("For the owner").click()
    dialog.get_by_role("textbox", name="New name").fill("taken")
    dialog.get_by_role("button", name="Rename").click()
    # What is not in the dialog is behind it, and no screen reader tells it.
    expect(dialog.get_by_role("alert")).to_be_visible()
    expect(dialog).to_be_visible()
    dialog.get_by_role("textbox", name="New name").fill("free-name")
    dialog.get_by_role("button", name="Rename").click()
    expect(dialog).to_have_count(0)
    expect(jan.page.get_by_role("heading", name="free-name")).to_be_visible()
    expect(jan.page.get_by_role("alert")).to_be_visible()


def test_a_name_that_is_taken_says_what_to_do(shared_cluster, people):
    people("una").enter(shared_cluster.url(0), "correct horse", register=True)
    page = people("una").page
    page.goto(shared_cluster.url(1))
    page.get_by_role("textbox", name="Name").fill("una")
    page.get_by_role("button", name="Enter").click()
    expect(page.get_by_role("alert")).to_contain_text("type its password")
    page.get_by_label("Password").fill("correct horse")
    page.get_by_role("button", name="Enter").click()
    expect(page.get_by_role("button", name="Find a room")).to_be_visible()


def test_a_ban_can_be_lifted(shared_cluster, people):
    lea = people("lea").enter(shared_cluster.url(0)).join("banning")
    max_ = people("max").enter(shared_cluster.url(1)).join("banning")
    max_.page.get_by_role("textbox", name="Message").press_sequentially("I am just wri")
    people_here = lea.page.get_by_role("complementary", name="Members")
    people_here.get_by_role("button", name="max").click()
    lea.page.get_by_role("button", name="Ban for good").click()
    expect(max_.page.get_by_role("alert")).to_contain_text("banning")
    expect(max_.page.get_by_role("textbox", name="Message")).to_have_count(0)
    lea.page.get_by_role("button", name="About this room").click()
    dialog = lea.page.get_by_role("dialog")
    dialog.get_by_text("Lift a ban").click()
    dialog.get_by_role("textbox", name="Name of the banned user").fill("max")
    dialog.get_by_role("button", name="Lift the ban").click()
    expect(dialog.get_by_text("max may enter banning again")).to_be_visible()
    max_.join("banning")
    # What was begun is still there.
    expect(max_.page.get_by_role("textbox", name="Message")).to_have_value("I am just wri")


def test_on_a_phone_nothing_stays_above_the_conversation(shared_cluster, people):
    line = Line(shared_cluster, 1, "nils")
    for room in ("phones", "others"):
        line.ask("create_join", room=room)
    line.ask("chat", room="phones", body="a needle", client_msg_id="needle")
    ole = people("ole", viewport={"width": 375, "height": 667}).enter(shared_cluster.url(0))
    page = ole.page
    for room in ("others", "phones"):
        ole.join_on_phone(room)
    message = page.get_by_role("textbox", name="Message")
    members = page.get_by_role("complementary", name="Members")
    expect(members).to_be_hidden()
    page.get_by_role("button", name="Show or hide people").click()
    expect(members).to_be_visible()
    page.mouse.click(60, 400)
    expect(members).to_be_hidden()
    page.get_by_role("button", name="Show rooms").click()
    page.get_by_role("searchbox", name="Search").fill("needle")
    hits = page.get_by_role("region", name="Search results").get_by_role("article")
    expect(hits).to_have_count(1)
    expect(page.get_by_role("searchbox", name="Search")).to_be_in_viewport(ratio=1)
    hits.get_by_role("link").click()
    expect(hits).to_have_count(0)
    expect(ole.message("a needle")).to_be_in_viewport()
    message.click(trial=True)
    # The same hit leads to the same place again, though the address stays the same.
    page.get_by_role("button", name="Show rooms").click()
    page.get_by_role("searchbox", name="Search").press("Enter")
    hits.get_by_role("link").click()
    expect(ole.message("a needle")).to_be_in_viewport()
    # That there is something to read elsewhere is said here, too.
    line.ask("chat", room="others", body="news", client_msg_id="news")
    expect(page.get_by_role("button", name="Show rooms, with unread messages")).to_be_visible()
    line.close()


def test_an_upload_can_be_given_up(cluster, people):
    pia = people("pia").enter(cluster.url(0)).join("uploads")
    cluster.kill_all()
    expect(pia.status()).to_contain_text("reconnecting")
    pia.page.locator("input[type=file]").set_input_files(SOME_FILES[:1])
    pia.page.get_by_role("button", name="Send", exact=True).click()
    pia.say("goes all the same")
    expect(pia.message("notes.txt")).to_contain_text("pending")
    pia.message("notes.txt").get_by_role("button", name="Cancel the upload").click()
    expect(pia.message("notes.txt")).to_have_count(0)
    cluster.start_all()
    expect(pia.message("goes all the same")).to_have_attribute("data-seq", PLACE, timeout=40_000)
    expect(pia.message("notes.txt")).to_have_count(0)


def test_no_majority_and_no_server_are_two_things(cluster, people):
    rob = people("rob").enter(cluster.url(1)).join("alone")
    cluster.kill(0)
    cluster.kill(2)
    rob.say("is anybody there")
    expect(rob.status()).to_contain_text("no majority: read only", timeout=30_000)
    cluster.kill(1)
    expect(rob.status()).to_contain_text("reconnecting", timeout=30_000)
    expect(rob.status()).not_to_contain_text("no majority")
    cluster.start_all()
    expect(rob.message("is anybody there")).to_have_attribute("data-seq", PLACE, timeout=40_000)
    expect(rob.status()).to_contain_text("Connected to server")


def test_a_click_counts_although_the_lists_are_drawn_anew_under_it(shared_cluster, people):
    ivo = people("ivo").enter(shared_cluster.url(0)).join("press-other").join("press-here")
    line = Line(shared_cluster, 1, "jule")
    line.ask("create_join", room="press-other")
    line.ask("create_join", room="press-here")
    mouse = ivo.page.mouse
    rooms = ivo.page.get_by_role("navigation", name="Rooms")
    members = ivo.page.get_by_role("complementary", name="Members")

    def press(target):
        expect(target).to_be_visible()
        box = target.bounding_box()
        mouse.move(box["x"] + 20, box["y"] + box["height"] / 2)
        mouse.down()

    press(members.get_by_role("button", name="jule"))
    Line(shared_cluster, 2, "kurt").ask("create_join", room="press-here")
    expect(members.get_by_role("button", name="kurt")).to_be_visible()
    mouse.up()
    expect(ivo.page.get_by_role("dialog", name="jule")).to_be_visible()
    ivo.page.keyboard.press("Escape")
    # Also in the very room that one goes to.
    press(rooms.get_by_role("link", name=re.compile("^press-other")))
    line.ask("chat", room="press-other", body="a new one", client_msg_id="press")
    expect(rooms.get_by_role("link", name=re.compile("press-other.*1 unread"))).to_be_visible()
    mouse.up()
    expect(ivo.page.get_by_role("heading", name="press-other")).to_be_visible()
    line.close()
