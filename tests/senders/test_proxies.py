"""The set-ups of deploy/proxies, in front of a real cluster. Only addresses, ports and certificates are changed."""

import json
import os
import shutil
import socket
import ssl
import subprocess
import urllib.request
from pathlib import Path

import pytest
from cluster import Cluster, Line, free_base, wait_for
from websockets.exceptions import ConnectionClosed, InvalidMessage, InvalidStatus
from websockets.sync.client import connect

PROXIES = Path(__file__).resolve().parents[2] / "deploy" / "proxies"
# Connections that one address may have.
MOST = 3


class Proxy:
    def __init__(self, name, folder, cluster):
        self.folder = folder
        self.https, self.lines = free_base(), free_base()
        self.servers = [(f"10.0.0.{place + 1}:800{place}", f"127.0.0.1:{cluster.port(place)}") for place in range(3)]
        certificate(folder)
        command = getattr(self, name)()
        with open(folder / "out", "wb") as out:
            self.process = subprocess.Popen(command, stdout=out, stderr=out, cwd=folder, env=self.environment())
        wait_for(name, self.answers)

    def environment(self):
        return os.environ | {"HOME": str(self.folder), "XDG_DATA_HOME": str(self.folder), "XDG_CONFIG_HOME": str(self.folder)}

    def text(self, file, *changes):
        text = (PROXIES / file).read_text()
        for old, new in changes + tuple(pair for pair in self.servers if pair[0] in text):
            assert old in text, f"{file} has no {old}"
            text = text.replace(old, new)
        return text

    def nginx(self):
        http = self.text(
            "nginx.conf",
            ("listen 443 ssl", f"listen 127.0.0.1:{self.https} ssl"),
            ("/etc/nginx/chat.crt", f"{self.folder}/chat.crt"),
            ("/etc/nginx/chat.key", f"{self.folder}/chat.key"),
        )
        lines = self.text("nginx-lines.conf", ("listen 8000", f"listen 127.0.0.1:{self.lines}"))
        paths = "".join(
            f"{kind}_temp_path {self.folder}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        (self.folder / "main.conf").write_text(
            "include /usr/share/nginx/modules-available/mod-stream.conf;\n"
            f"pid {self.folder}/pid; error_log {self.folder}/error.log; events {{}}\n"
            f"http {{ access_log off; {paths}\n{http} }}\nstream {{\n{lines} }}\n"
        )
        # Its modules are found relative to where it was installed.
        return ["nginx", "-c", str(self.folder / "main.conf"), "-g", "daemon off; master_process off;"]

    def haproxy(self):
        pem = (self.folder / "chat.crt").read_text() + (self.folder / "chat.key").read_text()
        (self.folder / "chat.pem").write_text(pem)
        (self.folder / "haproxy.cfg").write_text(
            self.text(
                "haproxy.cfg",
                ("bind :443", f"bind 127.0.0.1:{self.https}"),
                ("bind :8000", f"bind 127.0.0.1:{self.lines}"),
                ("/etc/haproxy/chat.pem", f"{self.folder}/chat.pem"),
            )
        )
        return ["haproxy", "-db", "-f", str(self.folder / "haproxy.cfg")]

    def caddy(self):
        self.lines = None
        site = f"https://127.0.0.1:{self.https} {{\n    tls {self.folder}/chat.crt {self.folder}/chat.key"
        (self.folder / "Caddyfile").write_text(
            "{\n    admin off\n    auto_https off\n}\n" + self.text("Caddyfile", ("chat.example.org {", site))
        )
        return ["caddy", "run", "--adapter", "caddyfile", "--config", str(self.folder / "Caddyfile")]

    def answers(self):
        assert self.process.poll() is None, (self.folder / "out").read_text()
        return self.ask("GET", "/readyz")[0] == 200

    def ask(self, method, path, body=None, headers=()):
        request = urllib.request.Request(f"https://127.0.0.1:{self.https}{path}", body, dict(headers), method=method)
        try:
            with urllib.request.urlopen(request, timeout=20, context=self.tls()) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()

    def tls(self):
        return ssl.create_default_context(cafile=self.folder / "chat.crt")

    def socket(self, port, source):
        return socket.create_connection(("127.0.0.1", port), timeout=20, source_address=(source, 0))

    def web_socket(self, source, **headers):
        # This client writes its request while another thread reads. In TLS 1.3 that thread handles the tickets which
        # follow the handshake, and OpenSSL allows one thread at a time: about one request in eighty was never sent.
        tls = self.tls()
        tls.maximum_version = ssl.TLSVersion.TLSv1_2
        return connect(
            f"wss://127.0.0.1:{self.https}/ws",
            sock=self.socket(self.https, source),
            ssl=tls,
            additional_headers=headers,
            close_timeout=1,
        )

    def stop(self):
        self.process.terminate()
        self.process.wait()


def certificate(folder):
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost"
    names = ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", folder / "chat.key", "-out", folder / "chat.crt"]
    subprocess.run([*command.split(), *names], check=True, capture_output=True)


@pytest.fixture(scope="module")
def cluster():
    cluster = Cluster(http={"trusted_proxies": ["127.0.0.1"]}, limits={"connections_per_address": MOST})
    yield cluster
    cluster.stop()


@pytest.fixture(scope="module", params=["nginx", "haproxy", "caddy"])
def proxy(request, cluster, tmp_path_factory):
    assert shutil.which(request.param), f"install Debian's package {request.param}"
    proxy = Proxy(request.param, tmp_path_factory.mktemp(request.param), cluster)
    yield proxy
    proxy.stop()


def test_people_chat_through_it(cluster, proxy):
    with proxy.web_socket("127.0.0.2") as web_socket:
        for number, (msg_type, data) in enumerate(
            [
                ("login", {"username": "webster"}),
                ("create_join", {"room": "lobby"}),
                ("chat", {"room": "lobby", "body": "through a proxy"}),
            ]
        ):
            web_socket.send(json.dumps({"msg_type": msg_type, "data": data, "request_id": number}))
            answer = next(message for message in map(json.loads, web_socket) if message.get("request_id") == number)
            assert answer["msg_type"] == "ack", answer


def test_files_go_through_it(cluster, proxy):
    person = Line(cluster, 0)
    # Its name may be there from the proxy before.
    person.ask("register", username=f"filer{proxy.https}", password="a long password")
    token = person.ask("login", username=f"filer{proxy.https}", password="a long password")["token"]
    person.ask("create_join", room="files")
    person.close()
    content = bytes(place * 7 % 251 for place in range(3_000_000))
    bearer = {"Authorization": f"Bearer {token}"}
    for how, body in [("at once", content), ("in chunks", iter([content[:999_999], content[999_999:]]))]:
        status, answer = proxy.ask("POST", "/files?room=files&name=a.bin&post=1", body, bearer)
        assert status == 201, (how, answer)
        assert proxy.ask("GET", f"/files/{json.loads(answer)['file_id']}", None, bearer) == (200, content), how


def test_limits_count_real_addresses(cluster, proxy):
    """By X-Forwarded-For, whatever a client writes into it."""
    made_up = [{}, {"X-Forwarded-For": "9.9.9.9"}, {"X-Forwarded-For": "127.0.0.1", "Forwarded": "for=8.8.8.8"}]

    def pong(web_socket):
        web_socket.send(json.dumps({"msg_type": "ping", "request_id": 1}))
        return json.loads(web_socket.recv(timeout=20))["msg_type"]

    # Each server counts by itself, and the proxy may choose any of the three.
    people = []
    with pytest.raises((ConnectionClosed, InvalidMessage, InvalidStatus)):
        for number in range(3 * MOST + 1):
            web_socket = proxy.web_socket("127.0.0.3", **made_up[number % 3])
            assert pong(web_socket) == "pong"
            people.append(web_socket)
    assert len(people) >= MOST
    people.append(proxy.web_socket("127.0.0.4"))
    assert [pong(person) for person in people] == ["pong"] * len(people)
    for person in people:
        person.close()


def test_lines_come_with_their_real_address(cluster, proxy):
    """By the PROXY protocol: nginx speaks version 1, HAProxy version 2."""
    if proxy.lines is None:
        pytest.skip("Caddy passes on HTTP alone")

    def pong(source):
        line = proxy.socket(proxy.lines, source)
        line.sendall(b'{"msg_type":"ping","request_id":1}\n')
        return line, line.makefile("rb").readline()

    people = [pong("127.0.0.5") for _ in range(MOST)]
    assert all(b'"pong"' in answer for _, answer in people), people
    assert b'"overloaded"' in pong("127.0.0.5")[1]
    assert b'"pong"' in pong("127.0.0.6")[1]
    # The status probe is another dialect.
    with proxy.socket(proxy.lines, "127.0.0.6") as probe:
        probe.sendall(b"STATUS_REQUEST\n")
        assert b"term=" in probe.makefile("rb").readline()
    for line, _ in people:
        line.close()


def test_it_goes_on_when_a_server_dies(cluster, proxy):
    cluster.kill(0)
    try:
        wait_for("another server", lambda: proxy.ask("GET", "/readyz")[0] == 200)
        # All requests find their way, not only the one that is asked again.
        assert [proxy.ask("GET", "/healthz")[0] for _ in range(10)] == [200] * 10
    finally:
        cluster.start_all()
