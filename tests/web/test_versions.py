"""A page that stays open while its server is replaced by one of another version."""

import contextlib
import re
import socket
import threading

from playwright.sync_api import expect

from cluster import Cluster

PLACE = re.compile(r"\d+")


class Front:
    """A server as the browser sees it, which can become another version."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}/"
        self.behind = None
        self.others = {}
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=self.serve, args=[self.listener.accept()[0]], daemon=True).start()

    def serve(self, browser):
        head = b""
        with contextlib.suppress(OSError):
            while b"\r\n\r\n" not in head:
                if not (some := browser.recv(65536)):
                    return
                head += some
            path = head.split(b" ")[1].decode()
            if path in self.others:
                browser.sendall(self.others[path])
                browser.close()
                return
            if b"pgrade: websocket" not in head:
                # One request each, so that none is passed on unseen.
                head = head.replace(b"Connection: keep-alive", b"Connection: close")
            server = socket.create_connection(("127.0.0.1", self.behind))
            server.sendall(head)
            threading.Thread(target=self.pump, args=[browser, server], daemon=True).start()
            self.pump(server, browser)

    def pump(self, source, target):
        with contextlib.suppress(OSError):
            while some := source.recv(65536):
                target.sendall(some)
        with contextlib.suppress(OSError):
            target.shutdown(socket.SHUT_WR)

    def become(self, **answers):
        """Gives these bodies from now on; the type is what the name says."""
        types = {"/": "text/html", "/sw.js": "text/javascript"}
        for name, body in answers.items():
            path = {"page": "/", "worker": "/sw.js"}[name]
            head = f"HTTP/1.1 200 OK\r\nContent-Type: {types[path]}\r\nConnection: close\r\n\r\n"
            self.others[path] = (head + body).encode()


def test_another_version_is_offered_as_soon_as_the_server_is_back(people):
    front = Front()
    cluster = Cluster(http={"allowed_origins": [front.url.rstrip("/")]})
    front.behind = cluster.port(0)
    try:
        tess = people("tess").enter(front.url).join("versions")
        # The page came before there was a worker.
        tess.page.wait_for_function("navigator.serviceWorker.controller !== null")
        reload = tess.page.get_by_role("button", name="Reload")

        def restart(text):
            cluster.kill_all()
            expect(tess.status()).to_contain_text("reconnecting")
            tess.say(text)
            cluster.start_all()
            expect(tess.message(text)).to_have_attribute("data-seq", PLACE, timeout=40_000)

        restart("back as it was")
        expect(reload).to_have_count(0)
        worker = tess.page.request.get(front.url + "sw.js").text()
        front.become(page="<!doctype html><p>a newer page</p>", worker=worker + "\n// newer")
        restart("back as another version")
        expect(reload).to_be_visible()
        reload.click()
        expect(tess.page.get_by_text("a newer page")).to_be_visible()
    finally:
        cluster.stop()
