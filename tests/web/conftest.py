"""People with browsers, in front of a real cluster. Whatever a page complains about fails the test."""

import re
import shutil
import sys
from pathlib import Path

import pytest
from playwright.sync_api import expect, sync_playwright

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))

from cluster import Cluster  # noqa: E402

expect.set_options(timeout=15_000)

# What a browser says of servers that the test has killed.
EXPECTED = re.compile(r"WebSocket connection to|net::ERR_|Failed to load resource|AbortError.*transition")

# Violations of the policy, told where the test hears them.
REPORT = """
addEventListener("securitypolicyviolation", (event) =>
  console.error(`POLICY ${event.violatedDirective} ${event.blockedURI} ${event.sample}`));
window.hasRunScript = false;
window.alert = window.prompt = () => { window.hasRunScript = true; };
"""


def find_chromium():
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    assert chromium, "install Debian's package chromium"
    return chromium


@pytest.fixture(scope="session")
def browser():
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_chromium(), args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def shared_cluster():
    cluster = Cluster()
    yield cluster
    cluster.stop()


@pytest.fixture
def cluster():
    """One whose servers may be killed."""
    cluster = Cluster()
    yield cluster
    cluster.stop()


class Person:
    """Someone with a browser of their own; tabs of it share what it keeps."""

    def __init__(self, browser, name, complaints, **options):
        options = {"viewport": {"width": 1280, "height": 800}, "color_scheme": "light"} | options
        self.name = name
        self.complaints = complaints
        self.context = browser.new_context(**options)
        self.context.set_default_timeout(15_000)
        self.context.add_init_script(REPORT)
        self.page = self.tab()

    def tab(self):
        page = self.context.new_page()
        page.on("pageerror", lambda error: self.complaints.append(f"{self.name}: {error}"))
        page.on("console", self._heard)
        return page

    def _heard(self, message):
        if message.type in ("error", "warning") and not EXPECTED.search(message.text):
            self.complaints.append(f"{self.name}: {message.type}: {message.text}")

    def enter(self, url, password="", register=False):
        page = self.page
        page.goto(url)
        page.get_by_role("textbox", name="Name").fill(self.name)
        page.get_by_label("Password").fill(password)
        page.get_by_role("button", name="Register" if register else "Enter").click()
        expect(page.get_by_role("button", name="Join or create")).to_be_visible()
        return self

    def join(self, room, private=False):
        page = self.page
        page.get_by_role("button", name="Join or create").click()
        page.get_by_role("textbox", name="Room").fill(room)
        if private:
            page.get_by_role("checkbox", name="Private").check()
        page.get_by_role("button", name="Join", exact=True).click()
        expect(page.get_by_role("link", name=room)).to_be_visible()
        expect(page.get_by_role("textbox", name="Message")).to_be_visible()
        return self

    def join_on_phone(self, room):
        """Where the list and the conversation do not stand side by side."""
        page = self.page
        join = page.get_by_role("button", name="Join or create")
        if not join.is_visible():
            page.get_by_role("button", name="Show rooms").click()
        join.click()
        page.get_by_role("textbox", name="Room").fill(room)
        page.get_by_role("button", name="Join", exact=True).click()
        expect(page.get_by_role("textbox", name="Message")).to_be_visible()
        return self

    def say(self, text, page=None):
        field = (page or self.page).get_by_role("textbox", name="Message")
        field.fill(text)
        field.press("Enter")

    def log(self, page=None):
        return (page or self.page).get_by_role("log", name="Messages")

    def message(self, text, page=None):
        return self.log(page).get_by_role("article").filter(has_text=text)

    def committed(self, page=None):
        """The places and texts of all messages that have a place, from top to bottom."""
        return self.log(page).locator("article[data-seq]").evaluate_all(
            "nodes => nodes.map((node) => [Number(node.dataset.seq), node.querySelector('.message-text')?.innerText])"
        )

    def status(self, page=None):
        return (page or self.page).get_by_role("status", name="Connection")


@pytest.fixture
def people(browser):
    """Makes people: `people("alice")`."""
    complaints = []
    made = []

    def make(name, **options):
        made.append(Person(browser, name, complaints, **options))
        return made[-1]

    yield make
    ran = [person.name for person in made for page in person.context.pages if page.evaluate("window.hasRunScript")]
    for person in made:
        person.context.close()
    assert not complaints, "\n".join(complaints)
    assert not ran, f"a script ran in the page of {ran}"
