"""How the web client bears a room into which messages pour: a benchmark, no test.

    SYNCNET_PROGRAMS=target/release python3 benches/web.py [MESSAGES_PER_S] [SECONDS]

with what tests/web/requirements.txt names installed (scripts/test.sh puts it into target/web-venv).

It starts a cluster, opens a room in Chromium, and has eight people write. It prints the longest task of the page,
how long a typed letter takes to be painted, and how soon the first message is seen when a page is opened.
"""

import sys
import threading
import time
from pathlib import Path

from playwright.sync_api import sync_playwright

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "web"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "support"))

from cluster import Cluster, Line  # noqa: E402
from conftest import Person, find_chromium  # noqa: E402

WRITERS = 8
ROOM = "busy"
# Letters are typed so often.
KEY_EVERY_S = 0.2
OBSERVE = """
window.tasks = [];
new PerformanceObserver((list) => {
  for (const entry of list.getEntries()) window.tasks.push(entry.duration);
}).observe({ type: "longtask" });
"""
# From a key to the picture behind it.
PAINTED = """
() => new Promise((done) => {
  const field = document.querySelector("[aria-label='Message'], textarea");
  const began = performance.now();
  field.focus();
  document.execCommand("insertText", false, "x");
  requestAnimationFrame(() => setTimeout(() => done(performance.now() - began)));
})
"""


class Writer:
    """A user who writes at a steady pace, whatever the answers are."""

    def __init__(self, cluster, number):
        self.line = Line(cluster, number % 3, f"writer{number}")
        self.line.ask("create_join", room=ROOM)
        self.number = number
        self.written = 0
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        try:
            while self.line.socket.recv(1 << 16):
                pass
        except OSError:
            pass

    def write(self, per_s, until):
        began = time.monotonic()
        while (now := time.monotonic()) < until:
            while self.written < (now - began) * per_s:
                self.written += 1
                body = f"message {self.written} of writer {self.number}, **as people** write them"
                self.line.tell("chat", room=ROOM, body=body, client_msg_id=f"{self.number}-{self.written}")
            time.sleep(0.01)


def measured(page, per_s, seconds, writers):
    until = time.monotonic() + seconds
    threads = [threading.Thread(target=writer.write, args=(per_s / WRITERS, until)) for writer in writers]
    for thread in threads:
        thread.start()
    painted = []
    while time.monotonic() < until:
        painted.append(page.evaluate(PAINTED))
        page.wait_for_timeout(KEY_EVERY_S * 1000)
    for thread in threads:
        thread.join()
    return sorted(painted)


def main():
    per_s = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    seconds = float(sys.argv[2]) if len(sys.argv) > 2 else 20
    cluster = Cluster()
    try:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=find_chromium(), args=["--no-sandbox"])
            complaints = []
            reader = Person(browser, "reader", complaints)
            reader.context.add_init_script(OBSERVE)
            page = reader.enter(cluster.url(0)).join(ROOM).page
            writers = [Writer(cluster, number) for number in range(WRITERS)]
            page.evaluate("window.tasks = []")
            painted = measured(page, per_s, seconds, writers)
            tasks = page.evaluate("window.tasks")
            written = sum(writer.written for writer in writers)
            shown = page.get_by_role("log", name="Messages").get_by_role("article").count()
            last = max(int(seq) for seq in page.locator("article[data-seq]").evaluate_all(
                "nodes => nodes.map((node) => node.dataset.seq)"))
            print(f"{written / seconds:.0f} messages a second for {seconds:.0f} s; the page shows {shown}, up to {last}")
            print(f"longest task {max(tasks, default=0):.0f} ms, {len(tasks)} longer than 50 ms")
            print(f"a letter is painted after {painted[len(painted) // 2]:.0f} ms (median), {painted[-1]:.0f} ms (worst)")
            began = time.monotonic()
            page.reload()
            page.locator("article[data-seq]").first.wait_for()
            print(f"the first message is seen {(time.monotonic() - began) * 1000:.0f} ms after the page is opened")
            print("\n".join(complaints))
            browser.close()
    finally:
        cluster.stop()


main()
