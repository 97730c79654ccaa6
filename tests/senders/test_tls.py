"""TLS on the client ports: every dialect inside it, certificates of every kind, and the programs that verify them."""

import json
import os
import socket
import ssl
import subprocess
import time
import urllib.request

import pytest
from cluster import PROGRAMS, ROOT, Cluster, wait_for
from websockets.sync.client import connect


def make_certificate(folder, *names, days=30):
    script = ROOT / "scripts" / "make_local_ca.sh"
    environment = os.environ | {"SYNCNET_CA_DAYS": str(days)}
    subprocess.run([script, folder, *names], check=True, capture_output=True, env=environment)


def context(folder, version=None):
    context = ssl.create_default_context(cafile=folder / "ca.crt")
    if version:
        context.minimum_version = context.maximum_version = version
    return context


def files(folder, **more):
    return {"certificate": str(folder / "server.crt"), "key": str(folder / "server.key")} | more


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ca")
    make_certificate(folder)
    return folder


@pytest.fixture(scope="module")
def cluster(folder):
    cluster = Cluster(tls=files(folder))
    yield cluster
    cluster.stop()


def tls(cluster, folder, place=0, version=None):
    bare = socket.create_connection(("127.0.0.1", cluster.port(place)), timeout=20)
    return context(folder, version).wrap_socket(bare, server_hostname="127.0.0.1")


def ask(stream, lines, msg_type, **data):
    stream.sendall(json.dumps({"msg_type": msg_type, "data": data, "request_id": 1}).encode() + b"\n")
    return next(message for message in map(json.loads, lines) if message.get("request_id") == 1)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_every_dialect_inside(cluster, folder, version):
    with tls(cluster, folder, version=version) as stream:
        assert stream.version() == version.name.replace("_", ".")
        lines = stream.makefile("rb")
        # However it is cut.
        for byte in b'{"msg_type":"ping","request_id":1}\n':
            stream.sendall(bytes([byte]))
        assert json.loads(lines.readline())["msg_type"] == "pong"
        big = "x" * 16_000
        assert ask(stream, lines, "login", username=f"tess-{version.value}")["msg_type"] == "ack"
        assert ask(stream, lines, "create_join", room="tls")["msg_type"] == "ack"
        assert ask(stream, lines, "chat", room="tls", body=big)["msg_type"] == "ack"
    with tls(cluster, folder, version=version) as stream:
        stream.sendall(b"STATUS_REQUEST\n")
        # The end is said, and not only there.
        assert b"term=" in stream.makefile("rb").read()
    with connect(f"wss://127.0.0.1:{cluster.port(1)}/ws", ssl=context(folder, version)) as web_socket:
        web_socket.send('{"msg_type":"ping","request_id":1}')
        assert json.loads(web_socket.recv(timeout=20))["msg_type"] == "pong"
    # What is not encrypted is heard as ever.
    with socket.create_connection(("127.0.0.1", cluster.port(0)), timeout=20) as bare:
        bare.sendall(b"STATUS_REQUEST\n")
        assert b"term=" in bare.makefile("rb").readline()


def test_curl_and_files(cluster, folder, tmp_path):
    with tls(cluster, folder) as stream:
        lines = stream.makefile("rb")
        ask(stream, lines, "register", username="filer", password="a long password")
        token = ask(stream, lines, "login", username="filer", password="a long password")["data"]["token"]
        ask(stream, lines, "create_join", room="files")
    content = bytes(place * 7 % 251 for place in range(2_000_000))
    (tmp_path / "a.bin").write_bytes(content)

    def curl(path, *more):
        url = f"https://localhost:{cluster.port(2)}{path}"
        command = ["curl", "-sS", "--cacert", folder / "ca.crt", "-H", f"Authorization: Bearer {token}", *more, url]
        return subprocess.run(command, check=True, capture_output=True, timeout=60).stdout

    assert curl("/healthz") == b"ok\n"
    posted = json.loads(curl("/files?room=files&name=a.bin", "--data-binary", f"@{tmp_path}/a.bin"))
    assert curl(f"/files/{posted['file_id']}") == content
    chunked = json.loads(curl("/files?room=files", "-F", f"file=@{tmp_path}/a.bin"))
    assert chunked["sha256"] == posted["sha256"]


def test_a_slow_reader_gets_everything_or_is_closed(cluster, folder):
    """Much waits for a reader that does not read; then it reads, and nothing is missing."""
    with tls(cluster, folder) as reader, tls(cluster, folder, place=1) as writer:
        heard = reader.makefile("rb")
        ask(reader, heard, "login", username="reader")
        ask(reader, heard, "create_join", room="slow")
        lines = writer.makefile("rb")
        ask(writer, lines, "login", username="writer")
        ask(writer, lines, "create_join", room="slow")
        count = 200
        for number in range(count):
            writer.sendall(
                json.dumps(
                    {
                        "msg_type": "chat",
                        "data": {"room": "slow", "body": f"{number} " + "x" * 9_000, "client_msg_id": str(number)},
                        "request_id": number + 10,
                    }
                ).encode()
                + b"\n"
            )
        waited = {number + 10 for number in range(count)}
        for message in map(json.loads, lines):
            waited.discard(message.get("request_id"))
            if not waited:
                break
        seen = []
        for message in map(json.loads, heard):
            if message["msg_type"] == "chat":
                seen.append(int(message["data"]["body"].split()[0]))
                if len(seen) == count:
                    break
        assert seen == list(range(count))


def run(program, *arguments, stdin="", **environment):
    command = [PROGRAMS / program, *arguments]
    variables = {name: value for name, value in os.environ.items() if name != "SYNCNET_CA"} | environment
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=60, env=variables)
    return done.returncode, done.stdout, done.stderr


def status(cluster, *arguments, host="127.0.0.1", **environment):
    servers = ",".join(f"{host}:{cluster.port(place)}" for place in range(3))
    return run("syncnet-admin", "status", "--servers", servers, *arguments, **environment)


def test_the_programs_verify(cluster, folder, tmp_path):
    ca = str(folder / "ca.crt")
    # On a busy machine one of them may be behind for a moment.
    wait_for("a good verdict", lambda: status(cluster, "--ca", ca)[0] == 0)
    wait_for("a good verdict", lambda: status(cluster, SYNCNET_CA=ca)[0] == 0)
    assert "signed by no authority that is trusted here" in status(cluster, "--tls")[1]
    missing = status(cluster, "--ca", str(tmp_path / "none"))
    assert missing[0] == 2 and "none" in missing[2]
    client = ["--server-host", "127.0.0.1", "--server-port", str(cluster.port(0)), "--outbox-dir", str(tmp_path)]
    done = run("syncnet-client", *client, "--ca", ca, "--user", "lena", "--room", "tls", stdin="hello\n")
    assert done[0] == 0, done
    other = tmp_path / "other"
    make_certificate(other)
    done = run("syncnet-client", *client, "--ca", str(other / "ca.crt"), "--user", "lena", "--wait-s", "1", stdin="x\n")
    assert done[0] == 1 and "signed by no authority that is trusted here" in done[1] + done[2], done
    # A server without TLS is told apart.
    plain = socket.create_server(("127.0.0.1", 0))
    with plain:
        plain.settimeout(20)
        target = f"127.0.0.1:{plain.getsockname()[1]}"
        asking = subprocess.Popen(
            [PROGRAMS / "syncnet-admin", "status", "--servers", target, "--ca", ca], stdout=subprocess.PIPE, text=True
        )
        connection, _ = plain.accept()
        connection.recv(1)
        connection.sendall(b'{"msg_type":"nack"}\n')
        assert "does not speak TLS" in asking.communicate(timeout=20)[0]
        connection.close()


def test_certificates_that_are_not_good_and_one_that_changes(tmp_path):
    make_certificate(tmp_path, "127.0.0.1")
    ca = str(tmp_path / "ca.crt")
    cluster = Cluster(tls=files(tmp_path))
    try:
        # The name is not in it.
        assert "the certificate is for 127.0.0.1, and not for localhost" in status(cluster, "--ca", ca, host="localhost")[1]
        wait_for("a good verdict", lambda: status(cluster, "--ca", ca)[0] == 0)
        with tls(cluster, tmp_path) as stays:
            # One that has expired.
            make_certificate(tmp_path, "127.0.0.1", days=-1)
            wait_for("the expired one", lambda: "has expired" in status(cluster, "--ca", ca)[1])
            # A new one that is none leaves the last one in use.
            good = (tmp_path / "server.crt").read_text()
            (tmp_path / "server.crt").write_text("rubbish")
            wait_for("the complaint", lambda: complaint(cluster, tmp_path))
            assert "has expired" in status(cluster, "--ca", ca)[1]
            with urllib.request.urlopen(f"http://127.0.0.1:{cluster.port(0)}/metrics", timeout=20) as metrics:
                assert b"syncnet_certificates_refused_total 1\n" in metrics.read()
            (tmp_path / "server.crt").write_text(good)
            make_certificate(tmp_path, "127.0.0.1", "localhost")
            wait_for("the new one", lambda: status(cluster, "--ca", ca, host="localhost")[0] == 0)
            # What stood goes on.
            assert ask(stays, stays.makefile("rb"), "ping")["msg_type"] == "pong"
    finally:
        cluster.stop()


def complaint(cluster, folder):
    # The files are read when a client connects.
    status(cluster, "--ca", str(folder / "ca.crt"))
    said = (cluster.path / "server1.out").read_text()
    return "server.crt; the one from before stays in use" in said


def test_keys_are_checked_at_the_start(tmp_path):
    make_certificate(tmp_path)
    other = tmp_path / "other"
    make_certificate(other)

    def start(tls):
        (tmp_path / "config.json").write_text(json.dumps({"tls": tls}))
        (tmp_path / "data").mkdir(exist_ok=True)
        arguments = ["--server-id", "server1", "--config", str(tmp_path / "config.json")]
        folders = ["--data-dir", str(tmp_path / "data"), "--log-dir", str(tmp_path)]
        code, out, errors = run("syncnet-server", *arguments, *folders)
        assert code == 2 and len(errors.strip().splitlines()) == 1, (code, out, errors)
        return errors

    assert "is not that of the certificate" in start(files(tmp_path, key=str(other / "server.key")))
    assert "there is no certificate in" in start(files(tmp_path, certificate=str(tmp_path / "server.key")))
    assert "tls.key" in start({"certificate": str(tmp_path / "server.crt")})
    assert "needs a certificate" in start({"required": True})
    (tmp_path / "server.key").chmod(0o644)
    assert "chmod 600" in start(files(tmp_path))


def test_required(folder):
    cluster = Cluster(ca=folder / "ca.crt", tls=files(folder, required=True))
    try:
        def said(first):
            with socket.create_connection(("127.0.0.1", cluster.port(0)), timeout=20) as bare:
                bare.sendall(first)
                return bare.makefile("rb").read()

        for first in [b'{"msg_type":"ping"}\n', b"STATUS_REQUEST\n", b"hello\n"]:
            assert b'"forbidden"' in said(first) and b"--tls" in said(first), first
        get = b"GET %b HTTP/1.1\r\nHost: localhost:1\r\nConnection: close\r\n%b\r\n"
        assert said(get % (b"/healthz", b"")).startswith(b"HTTP/1.1 200 ")
        page = said(get % (b"/", b""))
        assert page.startswith(b"HTTP/1.1 308 ") and b"Location: https://localhost:1/\r\n" in page
        assert said(get % (b"/files/x", b"Authorization: Bearer y\r\n")).startswith(b"HTTP/1.1 403 ")
        assert said(b"POST" + get[3:] % (b"/hooks/x", b"Content-Length: 0\r\n")).startswith(b"HTTP/1.1 403 ")
        assert status(cluster)[0] == 3
        own = ["--server-id", "server1", "--config", str(cluster.path / "config.json")]
        for question in ["--health", "--ready"]:
            assert run("syncnet-server", *own, question)[0] == 0, question
        wait_for("a good verdict", lambda: status(cluster, "--ca", str(folder / "ca.crt"))[0] == 0)
        with tls(cluster, folder) as stream:
            assert ask(stream, stream.makefile("rb"), "ping")["msg_type"] == "pong"
        # There is no TLS inside of TLS.
        with tls(cluster, folder) as stream:
            stream.sendall(b"\x16\x03\x01\x00\x05hello")
            assert b"bad_json" in stream.makefile("rb").read()
    finally:
        cluster.stop()


def test_a_handshake_that_is_none_ends(cluster):
    for first in [b"\x16\x03\x01\x00\x05hello", b"\x16" * 100, b"\x16\x03\x03\xff\xff" + b"x" * 70_000]:
        with socket.create_connection(("127.0.0.1", cluster.port(0)), timeout=20) as bare:
            began = time.monotonic()
            try:
                bare.sendall(first)
                while bare.recv(4096):
                    pass
            except ConnectionError:
                pass
            assert time.monotonic() - began < 15
