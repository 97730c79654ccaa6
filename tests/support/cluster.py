"""A cluster of three real servers on free ports, in a folder of its own."""

import contextlib
import json
import os
import random
import secrets
import signal
import socket
import ssl
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PROGRAMS = Path(os.environ.get("SYNCNET_PROGRAMS", ROOT / "target" / "debug"))
# A server uses these ports from its base on (README, "Configure").
OFFSETS = (0, 10, 20, 30, 40)
# Blocks of ports below those that systems give out by themselves, each with a lock, its last port. They are
# shared with src/admin/free_ports.rs.
BLOCK = 50
BLOCKS = range(10_000, 32_000, BLOCK)
LOCKS = []
READY_WITHIN_S = 60
SOON_S = 40


def bound(kind, port):
    """A socket that has this port of the loopback; `None` if another one has it."""
    probe = socket.socket(socket.AF_INET, kind)
    try:
        probe.bind(("127.0.0.1", port))
    except OSError:
        probe.close()
        return None
    return probe


def is_free(port):
    probes = [bound(kind, port) for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM)]
    for probe in filter(None, probes):
        probe.close()
    return all(probes)


def free_base():
    """The first of free ports that nobody else is given until this process ends, so that what is killed can
    come back on them."""
    for base in random.sample(BLOCKS, len(BLOCKS)):
        if lock := bound(socket.SOCK_DGRAM, base + BLOCK - 1):
            if all(is_free(base + place + offset) for place in range(3) for offset in OFFSETS):
                LOCKS.append(lock)
                return base
            lock.close()
    raise OSError("no block of ports is free")


def wait_for(what, happened):
    """Gives what `happened` gives once that is true; an error of the network is not."""
    deadline = time.monotonic() + SOON_S
    while True:
        with contextlib.suppress(OSError, urllib.error.URLError):
            if found := happened():
                return found
        assert time.monotonic() < deadline, f"{what} did not come"
        time.sleep(0.05)


class Cluster:
    def __init__(self, ca=None, **config):
        """Its configuration has these sections beside the servers. With an authority it is asked by TLS alone."""
        self.tls = ssl.create_default_context(cafile=ca) if ca else None
        self.folder = tempfile.TemporaryDirectory(prefix="syncnet-test-")
        self.path = Path(self.folder.name)
        self.base = free_base()
        servers = [
            {"server_id": f"server{place + 1}", "host": "127.0.0.1", "port": self.base + place, "ring_position": place}
            for place in range(3)
        ]
        config |= {"cluster_name": f"test-{self.base}", "servers": servers}
        (self.path / "config.json").write_text(json.dumps(config))
        (self.path / "data").mkdir()
        secret = self.path / "data" / "cluster.secret"
        secret.touch(mode=0o600)
        secret.write_text(secrets.token_hex(32))
        self.processes = [None, None, None]
        for place in range(3):
            self.start(place)
        self.wait_until_ready()

    def start(self, place):
        with open(self.path / f"server{place + 1}.out", "ab") as out:
            self.processes[place] = subprocess.Popen(
                [
                    PROGRAMS / "syncnet-server",
                    "--server-id", f"server{place + 1}",
                    "--config", self.path / "config.json",
                    "--data-dir", self.path / "data",
                    "--log-dir", self.path / "logs",
                ],
                stdout=out,
                stderr=out,
            )

    def kill(self, place):
        process = self.processes[place]
        self.processes[place] = None
        if process:
            process.send_signal(signal.SIGKILL)
            process.wait()

    def kill_all(self):
        for place in range(3):
            self.kill(place)

    def start_all(self):
        for place in range(3):
            if self.processes[place] is None:
                self.start(place)
        self.wait_until_ready()

    def port(self, place):
        return self.base + place

    def url(self, place):
        return f"http{'s' if self.tls else ''}://127.0.0.1:{self.port(place)}/"

    def wait_until_ready(self):
        deadline = time.monotonic() + READY_WITHIN_S
        for place in range(3):
            while True:
                process = self.processes[place]
                assert process.poll() is None, (self.path / f"server{place + 1}.out").read_text()
                with contextlib.suppress(OSError, urllib.error.URLError):
                    urllib.request.urlopen(self.url(place) + "readyz", timeout=3, context=self.tls).read()
                    break
                assert time.monotonic() < deadline, f"server{place + 1} is not ready"
                time.sleep(0.05)

    def stop(self):
        self.kill_all()
        self.folder.cleanup()


class Line:
    """A client of JSON lines. With a name it is logged in."""

    def __init__(self, cluster, place, name=None):
        self.socket = socket.create_connection(("127.0.0.1", cluster.port(place)), timeout=20)
        self.lines = self.socket.makefile("rb")
        self.next = 1
        if name:
            self.ask("login", username=name)

    def tell(self, msg_type, **data):
        request = {"msg_type": msg_type, "data": data, "request_id": self.next}
        self.next += 1
        self.socket.sendall(json.dumps(request).encode() + b"\n")
        return request["request_id"]

    def answer(self, request_id):
        for line in self.lines:
            message = json.loads(line)
            if message.get("request_id") == request_id:
                assert message["msg_type"] != "nack", message
                return message["data"]
        raise ConnectionError("the server has closed the connection")

    def ask(self, msg_type, **data):
        return self.answer(self.tell(msg_type, **data))

    def close(self):
        self.socket.close()
