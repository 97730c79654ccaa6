"""Rooms, people, messages and files, in one cluster."""

import re

import pytest
from playwright.sync_api import expect

from cluster import Line

PLACE = re.compile(r"\d+")
PIXEL = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010806000000"
    "1f15c4890000000d49444154789c6360f8cf500f000386018023 2e01010000000049454e44ae426082".replace(" ", "")
)


def test_unread_and_mentions_are_counted_and_a_room_opens_at_the_first_unread(shared_cluster, people):
    ann = people("ann").enter(shared_cluster.url(0)).join("unread").join("elsewhere")
    line = Line(shared_cluster, 1, "ben")
    line.ask("create_join", room="unread")
    for number in range(120):
        line.ask("chat", room="unread", body=f"line {number} of 120", client_msg_id=f"u{number}")
    line.ask("chat", room="unread", body="look, @ann", client_msg_id="mention")
    rooms = ann.page.get_by_role("navigation", name="Rooms")
    entry = rooms.get_by_role("link", name=re.compile("^unread"))
    expect(entry).to_have_accessible_name(re.compile(r"121 unread"))
    expect(entry).to_have_accessible_name(re.compile(r"1 mention"))
    entry.click()
    expect(ann.message("line 0 of 120")).to_be_in_viewport()
    expect(ann.page.get_by_role("button", name="Newest messages")).to_be_visible()
    ann.page.get_by_role("button", name="Newest messages").click()
    expect(ann.message("look, @ann")).to_be_in_viewport()
    expect(entry).not_to_have_accessible_name(re.compile("unread .*unread|mention"))
    # History comes as one scrolls, and nothing moves.
    ann.log().focus()
    for _ in range(40):
        ann.page.keyboard.press("PageUp")
        if ann.log().get_by_text("This is the beginning of unread").is_visible():
            break
        ann.page.wait_for_timeout(50)
    expect(ann.log().get_by_text("This is the beginning of unread")).to_be_visible()
    line.close()


def test_reply_edit_delete_react_and_pin(shared_cluster, people):
    cora = people("cora").enter(shared_cluster.url(0)).join("doing")
    dan = people("dan").enter(shared_cluster.url(2)).join("doing")
    cora.say("a first thougt")
    message = dan.message("a first thougt")
    message.get_by_role("button", name="Reply").click()
    dan.say("an answer")
    expect(cora.message("an answer")).to_contain_text("a first thougt")
    own = cora.message("a first thougt").first
    own.get_by_role("button", name="Edit").click()
    field = cora.page.get_by_role("textbox", name="Edit message")
    expect(field).to_be_focused()
    field.press("Escape")
    expect(field).to_have_count(0)
    cora.page.get_by_role("textbox", name="Message").press("ArrowUp")
    expect(field).to_be_focused()
    field.fill("a first thought")
    field.press("Enter")
    expect(dan.message("a first thought").first).to_contain_text("edited")
    dan.message("a first thought").first.get_by_role("button", name="React").click()
    dan.page.get_by_role("button", name="👍").click()
    expect(cora.message("a first thought").first.get_by_role("button", name="👍 1")).to_be_visible()
    own = cora.message("a first thought").first
    own.get_by_role("button", name="Delete").click()
    dialog = cora.page.get_by_role("dialog")
    dialog.get_by_role("button", name="Cancel").click()
    expect(own).to_contain_text("a first thought")
    own.get_by_role("button", name="Delete").click()
    dialog.get_by_role("button", name="Delete").click()
    expect(dan.message("This message was deleted.")).to_be_visible()
    cora.message("an answer").get_by_role("button", name="Pin").click()
    expect(dan.page.get_by_role("button", name="1 pinned")).to_be_visible()
    expect(dan.message("an answer")).to_contain_text("pinned")


def acts(message):
    """What is offered with a message, by name."""
    buttons = message.get_by_role("group", name="Actions").get_by_role("button")
    return buttons.evaluate_all("nodes => nodes.map((node) => node.getAttribute('aria-label'))")


def offers(message, *wanted):
    expect(message.get_by_role("group", name="Actions").get_by_role("button")).to_have_count(len(wanted))
    assert acts(message) == list(wanted)


def test_each_is_offered_what_they_may_do(shared_cluster, people):
    ina = people("ina").enter(shared_cluster.url(0)).join("offers")
    jay = people("jay").enter(shared_cluster.url(1)).join("offers")
    ina.say("of the owner")
    jay.say("of the guest")
    expect(ina.message("of the guest")).to_be_visible()
    offers(ina.message("of the owner"), "Reply", "React", "Edit", "Pin", "Delete")
    offers(ina.message("of the guest"), "Reply", "React", "Pin", "Delete")
    offers(jay.message("of the owner"), "Reply", "React")
    offers(jay.message("of the guest"), "Reply", "React", "Edit", "Delete")
    ina.page.get_by_role("complementary", name="Members").get_by_role("button", name="jay").click()
    ina.page.get_by_role("dialog").get_by_role("button", name="Mute for an hour").click()
    offers(jay.message("of the owner"))
    offers(jay.message("of the guest"), "Delete")
    expect(jay.page.get_by_role("button", name="Invite")).to_have_count(0)
    ina.page.get_by_role("complementary", name="Members").get_by_role("button", name="jay").click()
    dialog = ina.page.get_by_role("dialog")
    dialog.get_by_label("Role").select_option("moderator")
    dialog.get_by_role("button", name="Set the role").click()
    offers(jay.message("of the owner"), "Reply", "React", "Pin", "Delete")
    # In a conversation of two both may pin.
    jay.page.get_by_role("button", name="Join or create").click()
    jay.page.get_by_role("textbox", name="Room").fill("@ina")
    jay.page.get_by_role("button", name="Join", exact=True).click()
    jay.say("between us")
    offers(jay.message("between us"), "Reply", "React", "Edit", "Pin", "Delete")
    # Nothing can be changed in an archived room.
    ina.page.get_by_role("button", name="About this room").click()
    dialog.get_by_text("For the owner").click()
    dialog.get_by_role("checkbox", name="Archived").check()
    dialog.get_by_role("button", name="Save").click()
    offers(ina.message("of the owner"))


def test_private_rooms_invitations_and_direct_messages(shared_cluster, people):
    eve = people("eve").enter(shared_cluster.url(0)).join("den", private=True)
    finn = people("finn").enter(shared_cluster.url(1))
    eve.page.get_by_role("button", name="Invite").click()
    eve.page.get_by_role("textbox", name="Name of the guest").fill("finn")
    eve.page.get_by_role("button", name="Send invitation").click()
    link = finn.page.get_by_role("link", name="den")
    link.click()
    eve.say("welcome to the den")
    expect(finn.message("welcome to the den")).to_be_visible()
    members = finn.page.get_by_role("complementary", name="Members")
    expect(members.get_by_role("listitem").filter(has_text="eve")).to_contain_text("online")
    finn.page.get_by_role("button", name="Join or create").click()
    finn.page.get_by_role("textbox", name="Room").fill("@eve")
    finn.page.get_by_role("button", name="Join", exact=True).click()
    finn.say("psst")
    direct = eve.page.get_by_role("link", name="@finn")
    expect(direct).to_have_accessible_name(re.compile("^@finn.*1 unread"))
    direct.click()
    expect(eve.message("psst")).to_be_visible()
    eve.say("yes?")
    expect(finn.message("yes?")).to_be_visible()
    expect(finn.log().get_by_role("article")).to_have_count(2)


def test_files_go_with_a_message_and_come_back(shared_cluster, people, tmp_path):
    gus = people("gus").enter(shared_cluster.url(0)).join("files")
    hal = people("hal").enter(shared_cluster.url(1)).join("files")
    note = tmp_path / "notes.txt"
    note.write_bytes(b"some words\n" * 9000)
    picture = tmp_path / "dot.png"
    picture.write_bytes(PIXEL)
    with gus.page.expect_file_chooser() as chooser:
        gus.page.get_by_role("button", name="Attach file").click()
    chooser.value.set_files([note, picture])
    expect(gus.page.get_by_role("button", name="Remove")).to_have_count(2)
    gus.page.get_by_role("button", name="Remove").nth(1).click()
    gus.say("my notes")
    message = hal.message("my notes")
    expect(message).to_contain_text("notes.txt")
    with hal.page.expect_download() as download:
        message.get_by_role("button", name="Download").click()
    assert download.value.suggested_filename == "notes.txt"
    assert open(download.value.path(), "rb").read() == note.read_bytes()
    # Pasted, and without text.
    gus.page.get_by_role("textbox", name="Message").evaluate(
        """(field, bytes) => {
          const data = new DataTransfer();
          data.items.add(new File([Uint8Array.from(bytes)], "pasted.png", {type: "image/png"}));
          field.dispatchEvent(new ClipboardEvent("paste", {clipboardData: data, bubbles: true, cancelable: true}));
        }""",
        list(PIXEL),
    )
    expect(gus.page.get_by_role("button", name="Remove")).to_have_count(1)
    gus.page.get_by_role("textbox", name="Message").press("Enter")
    shown = hal.message("pasted.png").get_by_role("img", name="pasted.png")
    expect(shown).to_be_visible()
    assert shown.evaluate("image => image.naturalWidth") == 1


def test_search_leads_to_its_place(shared_cluster, people):
    line = Line(shared_cluster, 1, "ivy")
    line.ask("create_join", room="library")
    line.ask("chat", room="library", body="the quick brown heron", client_msg_id="heron")
    for number in range(300):
        line.ask("chat", room="library", body=f"filler {number}", client_msg_id=f"f{number}")
    jon = people("jon").enter(shared_cluster.url(2)).join("library")
    expect(jon.message("filler 299")).to_be_visible()
    box = jon.page.get_by_role("searchbox", name="Search")
    box.fill("heron")
    box.press("Enter")
    results = jon.page.get_by_role("region", name="Search results")
    expect(results.get_by_role("article")).to_have_count(1)
    results.get_by_role("link").click()
    expect(jon.message("the quick brown heron")).to_be_in_viewport()
    line.close()


def test_accounts_and_sessions(shared_cluster, people):
    kim = people("kim")
    kim.enter(shared_cluster.url(0), "correct horse", register=True).join("accounts")
    kim.page.reload()
    expect(kim.page.get_by_role("link", name="accounts")).to_be_visible()
    kim.page.get_by_role("button", name="Settings").click()
    kim.page.get_by_role("radio", name="Dark").check()
    assert kim.page.evaluate("getComputedStyle(document.body).colorScheme") == "dark"
    kim.page.get_by_role("button", name="Log out", exact=True).click()
    kim.page.get_by_role("textbox", name="Name").fill("kim")
    kim.page.get_by_label("Password").fill("wrong horse")
    kim.page.get_by_role("button", name="Enter").click()
    expect(kim.page.get_by_role("alert")).to_contain_text(re.compile("password", re.I))
    kim.enter(shared_cluster.url(1), "correct horse")
    expect(kim.page.get_by_role("link", name="accounts")).to_be_visible()


def test_enter_that_ends_a_word_of_an_input_method_does_not_send(shared_cluster, people):
    lee = people("lee").enter(shared_cluster.url(0)).join("words")
    field = lee.page.get_by_role("textbox", name="Message")
    field.fill("かな")
    field.evaluate(
        """(field) => field.dispatchEvent(
          new KeyboardEvent("keydown", {key: "Enter", isComposing: true, bubbles: true, cancelable: true}))"""
    )
    expect(field).to_have_value("かな")
    field.press("Shift+Enter")
    field.press("a")
    expect(field).to_have_value("かな\na")
    field.press("Enter")
    expect(lee.message("かな")).to_have_attribute("data-seq", PLACE)


def test_names_are_completed(shared_cluster, people):
    mia = people("mia").enter(shared_cluster.url(0)).join("naming")
    Line(shared_cluster, 1, "nora").ask("create_join", room="naming")
    expect(mia.page.get_by_role("complementary", name="Members").get_by_text("nora")).to_be_visible()
    field = mia.page.get_by_role("textbox", name="Message")
    field.press_sequentially("hello @no")
    expect(mia.page.get_by_role("option", name="@nora")).to_be_visible()
    field.press("Tab")
    expect(field).to_have_value("hello @nora ")


def test_the_keyboard_alone_is_enough(shared_cluster, people):
    olga = people("olga").enter(shared_cluster.url(0)).join("keys").join("other")
    keyboard = olga.page.keyboard
    keyboard.press("Control+k")
    olga.page.get_by_role("combobox", name="Go to").press_sequentially("key")
    keyboard.press("Enter")
    expect(olga.page.get_by_role("heading", name="keys")).to_be_visible()
    olga.say("one")
    expect(olga.message("one")).to_have_attribute("data-seq", PLACE)
    # From writing back to the newest message, then to what one can do with it.
    for _ in range(12):
        keyboard.press("Shift+Tab")
        if olga.page.evaluate("document.activeElement.getAttribute('aria-label')") == "Delete":
            break
    else:
        raise AssertionError("Shift+Tab does not lead to the actions of a message")
    keyboard.press("Enter")
    expect(olga.page.get_by_role("dialog")).to_be_visible()
    keyboard.press("Escape")
    expect(olga.page.get_by_role("dialog")).to_have_count(0)
    keyboard.press("Alt+2")
    expect(olga.page.get_by_role("heading", name="other")).to_be_visible()


def test_a_room_that_is_open_goes_on_under_its_new_name_and_ends_when_it_is_deleted(shared_cluster, people):
    owner = Line(shared_cluster, 0, "rita")
    owner.ask("create_join", room="before")
    for number in range(40):
        owner.ask("chat", room="before", body=f"line {number}")
    alice = people("ruth").enter(shared_cluster.url(1)).join("before")
    expect(alice.message("line 39")).to_be_visible()
    field = alice.page.get_by_role("textbox", name="Message")
    field.fill("half a sentence")
    owner.ask("rename_room", room="before", name="afterwards")
    expect(alice.page.get_by_role("heading", name="afterwards")).to_be_visible()
    expect(field).to_have_value("half a sentence")
    expect(field).to_have_attribute("placeholder", "Message to afterwards")
    expect(alice.message("line 39")).to_be_visible()
    # The old name is another room's now; nothing of this one goes there, not even after a reload.
    other = Line(shared_cluster, 0, "rolf")
    other.ask("create_join", room="before")
    field.press("Enter")
    expect(alice.message("half a sentence")).to_have_attribute("data-seq", PLACE)
    alice.page.reload()
    expect(alice.message("half a sentence")).to_be_visible()
    assert [event["kind"] for event in other.ask("history", room="before")["events"]] == ["joined"]
    # A reload does not make a room anew that was deleted.
    owner.ask("delete_room", room="afterwards")
    expect(alice.page.get_by_text("rita deleted the room")).to_be_visible()
    expect(alice.page.get_by_role("link", name="afterwards")).to_have_count(0)
    alice.page.reload()
    # This join comes behind all that the page asked for by itself.
    alice.join("nearby")
    names = [room["room"] for room in owner.ask("rooms")["rooms"]]
    assert "afterwards" not in names, names
    owner.close()
    other.close()


# The page ends before anything happens that it does after a pause.
ENDS_SOON = """
const { setTimeout: later } = window;
window.setTimeout = (what, ms, ...rest) => [500, 1_000].includes(ms) ? 0 : later(what, ms, ...rest);
"""

# What the page reads of its storage comes after what the servers say, as on a disk that is busy.
READS_LATE = """
const { get, set } = Object.getOwnPropertyDescriptor(IDBRequest.prototype, "onsuccess");
Object.defineProperty(IDBRequest.prototype, "onsuccess", {
    get,
    set(listener) {
        const isLate = this.source?.name === "rooms" && this.transaction.mode === "readonly";
        set.call(this, isLate ? (event) => setTimeout(() => listener.call(this, event), 1_500) : listener);
    },
});
"""


@pytest.mark.parametrize("before, after", [("", ""), (ENDS_SOON, ""), (ENDS_SOON, READS_LATE)], ids=["", "ends soon", "reads late"])
def test_a_room_that_was_renamed_while_one_was_away_gets_what_waits_for_it(cluster, people, before, after):
    owner = Line(cluster, 0, "rita")
    owner.ask("create_join", room="before")
    ruth = people("ruth")
    ruth.page.add_init_script(before)
    ruth.enter(cluster.url(1)).join("before")
    ruth.say("here")
    expect(ruth.message("here")).to_have_attribute("data-seq", PLACE)
    owner.close()
    cluster.kill_all()
    ruth.say("this waits")
    expect(ruth.message("this waits")).to_contain_text("pending")
    ruth.page.get_by_role("textbox", name="Message").fill("half a sentence")
    ruth.page.close()
    cluster.start_all()
    # The room gets another name, and another room gets its name.
    owner = Line(cluster, 0, "rita")
    owner.ask("rename_room", room="before", name="afterwards")
    other = Line(cluster, 0, "rolf")
    other.ask("create_join", room="before")
    ruth.page = ruth.tab()
    ruth.page.add_init_script(after)
    ruth.page.goto(cluster.url(1))
    expect(ruth.page.get_by_role("heading", name="afterwards")).to_be_visible()
    expect(ruth.message("this waits")).to_have_attribute("data-seq", PLACE)
    expect(ruth.page.get_by_role("textbox", name="Message")).to_have_value("half a sentence")
    expect(ruth.page.get_by_role("link", name="before")).to_have_count(0)
    assert [event["kind"] for event in other.ask("history", room="before")["events"]] == ["joined"]
    bodies = [event.get("body") for event in owner.ask("history", room="afterwards")["events"]]
    assert bodies.count("this waits") == 1, bodies
    owner.close()
    other.close()
