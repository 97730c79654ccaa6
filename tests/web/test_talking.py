"""Two people talk, and servers come and go."""

import re

from playwright.sync_api import expect

# What the page keeps of rooms, as text.
KEPT = """() => new Promise((done) => {
  const open = indexedDB.open("syncnet");
  open.onsuccess = () => {
    const all = open.result.transaction("rooms").objectStore("rooms").getAll();
    all.onsuccess = () => (open.result.close(), done(JSON.stringify(all.result)));
  };
})"""


# The servers were restored since the page kept this: a message at the end of the room is not there any more.
RESTORED = """() => new Promise((done) => {
  const open = indexedDB.open("syncnet");
  open.onsuccess = () => {
    const transaction = open.result.transaction("rooms", "readwrite");
    const rooms = transaction.objectStore("rooms");
    const all = rooms.getAll();
    all.onsuccess = () => {
      for (const record of all.result) {
        if (record.room === "") record.value.epoch += 1;
        if (record.room === "lobby") {
          const last = record.value.events.at(-1);
          record.value.events.push({ ...last, seq: last.seq + 1, body: "gone", client_msg_id: "gone" });
          record.value.end += 1;
        }
        rooms.put(record);
      }
    };
    transaction.oncomplete = () => (open.result.close(), done());
  };
})"""


def test_two_people_talk_and_a_server_is_killed(cluster, people):
    alice = people("alice").enter(cluster.url(0)).join("lobby")
    bob = people("bob").enter(cluster.url(1)).join("lobby")
    expect(alice.status()).to_contain_text("server1")
    expect(bob.status()).to_contain_text("server2")
    alice.say("hello bob")
    expect(bob.message("hello bob")).to_contain_text("alice")
    bob.say("hello alice")
    expect(alice.message("hello alice")).to_have_attribute("data-seq", re.compile(r"\d+"))
    sent = ["hello bob", "hello alice"]
    for number in range(20):
        if number == 8:
            cluster.kill(0)
        text = f"number {number} of alice"
        alice.say(text)
        sent.append(text)
    expect(bob.message("number 19 of alice")).to_be_visible()
    bob.say("all there")
    sent.append("all there")
    expect(alice.message("all there")).to_be_visible()
    expect(alice.log().get_by_text("pending")).to_have_count(0)
    expect(alice.status()).to_contain_text(re.compile(r"server[23]"))
    assert [text for _, text in alice.committed()] == sent
    assert alice.committed() == bob.committed()


def test_what_is_typed_without_a_server_survives_a_reload_and_is_sent_once_and_in_order(cluster, people):
    alice = people("alice").enter(cluster.url(0)).join("lobby")
    alice.say("before")
    expect(alice.message("before")).to_have_attribute("data-seq", re.compile(r"\d+"))
    alice.page.wait_for_function("navigator.serviceWorker.controller !== null")
    # What was seen of the room is kept a moment later.
    while "before" not in alice.page.evaluate(KEPT):
        alice.page.wait_for_timeout(50)
    cluster.kill_all()
    expect(alice.status()).to_contain_text("reconnecting")
    for number in range(5):
        alice.say(f"offline {number}")
    expect(alice.message("offline 4")).to_contain_text("pending")
    alice.page.reload()
    # The page opens and shows what it knows.
    expect(alice.message("before")).to_be_visible()
    expect(alice.message("offline 4")).to_contain_text("pending")
    expect(alice.status()).to_contain_text("reconnecting")
    second = alice.tab()
    second.goto(alice.page.url)
    for number in range(5):
        alice.say(f"second tab {number}", second)
    expect(alice.message("second tab 4")).to_contain_text("pending")
    alice.say("last")
    expect(alice.message("last")).to_contain_text("pending")
    cluster.start_all()
    expected = ["before"] + [f"offline {n}" for n in range(5)] + [f"second tab {n}" for n in range(5)] + ["last"]
    for page in (alice.page, second):
        expect(alice.message("last", page)).to_have_attribute("data-seq", re.compile(r"\d+"), timeout=30_000)
        expect(alice.log(page).get_by_text("pending")).to_have_count(0)
        assert [text for _, text in alice.committed(page)] == expected
    # The tab that owned the outbox is closed: the other takes it over.
    alice.page.close()
    alice.say("from the tab that is left", second)
    expect(alice.message("from the tab that is left", second)).to_have_attribute("data-seq", re.compile(r"\d+"))


def test_what_waits_is_sent_once_and_in_order_though_the_tab_that_would_send_it_is_closed(cluster, people):
    alice = people("alice").enter(cluster.url(0)).join("lobby")
    second = alice.tab()
    second.goto(alice.page.url)
    expect(second.get_by_role("textbox", name="Message")).to_be_visible()
    cluster.kill_all()
    for page in (alice.page, second):
        expect(alice.status(page)).to_contain_text("reconnecting")
    sent = []
    for number in range(4):
        for page, other in ((alice.page, second), (second, alice.page)):
            sent.append(f"message {len(sent)}")
            alice.say(sent[-1], page)
            expect(alice.message(sent[-1], other)).to_contain_text("pending")
    alice.page.close()
    sent.append("from the tab that is left")
    alice.say(sent[-1], second)
    cluster.start_all()
    expect(alice.message(sent[-1], second)).to_have_attribute("data-seq", re.compile(r"\d+"), timeout=40_000)
    assert [text for _, text in alice.committed(second)] == sent


def test_after_a_restore_a_reloaded_page_begins_afresh_and_says_so(shared_cluster, people):
    alice = people("zoe").enter(shared_cluster.url(0)).join("lobby")
    alice.say("still there")
    expect(alice.message("still there")).to_have_attribute("data-seq", re.compile(r"\d+"))
    while "still there" not in alice.page.evaluate(KEPT) or '"epoch":1' not in alice.page.evaluate(KEPT):
        alice.page.wait_for_timeout(50)
    # Without the page that might keep what it knows once more.
    url = alice.page.url
    alice.page.goto("about:blank")
    helper = alice.tab()
    helper.goto(shared_cluster.url(0) + "icon.svg")
    helper.evaluate(RESTORED)
    helper.close()
    alice.page.goto(url)
    expect(alice.page.get_by_text("restored from a backup")).to_be_visible()
    expect(alice.message("still there")).to_be_visible()
    expect(alice.message("gone")).to_have_count(0)
    alice.say("goes on")
    expect(alice.message("goes on")).to_have_attribute("data-seq", re.compile(r"\d+"))
    alice.page.reload()
    expect(alice.message("goes on")).to_be_visible()
    expect(alice.message("gone")).to_have_count(0)
    expect(alice.page.get_by_text("restored from a backup")).to_have_count(0)


def test_without_a_majority_the_page_says_so_and_goes_on_by_itself(cluster, people):
    alice = people("alice").enter(cluster.url(0)).join("lobby")
    alice.say("before")
    expect(alice.message("before")).to_have_attribute("data-seq", re.compile(r"\d+"))
    cluster.kill(1)
    cluster.kill(2)
    alice.say("waits")
    expect(alice.message("waits")).to_contain_text("pending")
    expect(alice.status()).to_contain_text("no majority: read only")
    expect(alice.message("before")).to_be_visible()
    cluster.start_all()
    expect(alice.message("waits")).to_have_attribute("data-seq", re.compile(r"\d+"), timeout=30_000)
    expect(alice.status()).to_contain_text("Connected to")
