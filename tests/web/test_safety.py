"""Nothing from people is run or parsed, and the page speaks to the cluster alone."""

import http.client
import re
from pathlib import Path

from playwright.sync_api import expect

from cluster import Line

HOSTILE = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "[click](javascript:alert(1))",
    "[click](data:text/html,<script>alert(1)</script>)",
    "[x](https://a\" onmouseover=\"alert(1))",
    "javascript:alert(1)",
    "&lt;b&gt; &amp; <b>bold</b>",
    "```\n</code></pre><script>alert(1)</script>\n```",
    "> <svg onload=alert(1)>",
    "- <iframe srcdoc='<script>alert(1)</script>'>",
    "\u202etxt.exe\u202c \u2066isolate\u2069",
    "${alert(1)} {{constructor.constructor('alert(1)')()}}",
    "<style>*{display:none}</style>",
    "'\"><script>alert(1)</script>",
    "*" * 400 + "_" * 400 + "`" * 401,
    "[" * 1000 + "](https://x)",
    "> " * 300 + "deep",
    "a\u0300" * 500,
]


def test_hostile_texts_are_text(shared_cluster, people):
    line = Line(shared_cluster, 1, "mallory")
    line.ask("create_join", room="hostile")
    line.ask("topic", room="hostile", topic="<img src=x onerror=alert(1)>\u202e")
    for number, text in enumerate(HOSTILE):
        line.ask("chat", room="hostile", body=f"case {number}: {text}", client_msg_id=f"h{number}")
    victim = people("victim").enter(shared_cluster.url(0)).join("hostile")
    last = victim.message(f"case {len(HOSTILE) - 1}:")
    expect(last).to_be_visible()
    log = victim.log()
    for tag in ("script", "img", "iframe", "svg[onload]", "style", "b"):
        assert log.locator(tag).count() == 0, tag
    for href in log.locator("a").evaluate_all("links => links.map((link) => link.href)"):
        assert re.match(r"https?:|mailto:", href), href
    assert victim.message("case 0:").locator(".message-text").inner_text() == f"case 0: {HOSTILE[0]}"
    assert victim.message("case 1:").locator(".message-text").inner_text() == f"case 1: {HOSTILE[1]}"
    line.close()


def test_hostile_file_names_are_text(shared_cluster, people, tmp_path):
    trent = people("trent").enter(shared_cluster.url(0)).join("hostile-files")
    victim = people("victim2").enter(shared_cluster.url(1)).join("hostile-files")
    trent.page.locator("input[type=file]").set_input_files([
        {"name": "<img src=x onerror=alert(1)>.html", "mimeType": "text/html", "buffer": b"<script>alert(1)</script>"},
        {"name": "\u202egnp.exe", "mimeType": "image/svg+xml", "buffer": b"<svg onload='alert(1)'/>"},
    ])
    trent.page.get_by_role("button", name="Send", exact=True).click()
    shown = victim.message("onerror")
    expect(shown).to_contain_text("<img src=x onerror=alert(1)>.html")
    expect(victim.message("gnp.exe")).to_be_visible()
    assert victim.log().locator("img").count() == 0
    assert "\u202e" not in victim.message("gnp.exe").inner_text()


def get(cluster, path, method="GET", **headers):
    connection = http.client.HTTPConnection("127.0.0.1", cluster.port(0), timeout=20)
    connection.request(method, path, headers={name.replace("_", "-"): value for name, value in headers.items()})
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer, body


def test_the_policy_names_the_servers_and_nothing_inline(shared_cluster):
    answer, page = get(shared_cluster, "/")
    policy = answer.getheader("Content-Security-Policy")
    assert "unsafe" not in policy and "require-trusted-types-for 'script'" in policy
    connect = re.search(r"connect-src ([^;]*)", policy).group(1).split()
    expected = {f"{scheme}://127.0.0.1:{shared_cluster.port(n)}" for n in range(3) for scheme in ("ws", "http")}
    assert set(connect) == expected | {"'self'"}
    assert not re.search(rb"<script[^>]*>[^<]|<style| on\w+=| style=", page)
    sources = [path for path in Path(__file__).parents[2].joinpath("src/web").rglob("*.js") if "tests" not in path.parts]
    assert sources
    for path in sources:
        found = re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function", path.read_text())
        assert not found, f"{path}: {found.group()}"


def test_files_name_their_content_and_are_kept(shared_cluster):
    answer, page = get(shared_cluster, "/")
    tag = answer.getheader("ETag")
    assert answer.getheader("Cache-Control") == "no-cache"
    again, body = get(shared_cluster, "/", If_None_Match=tag)
    assert (again.status, body) == (304, b"")
    path = re.search(rb'src="(/web/[^"]+/main.js)"', page).group(1).decode()
    plain, text = get(shared_cluster, path)
    assert "immutable" in plain.getheader("Cache-Control")
    packed, short = get(shared_cluster, path, Accept_Encoding="gzip")
    assert packed.getheader("Content-Encoding") == "gzip" and len(short) < len(text)
    old, _ = get(shared_cluster, re.sub("/web/[^/]+/", "/web/0000000000000000/", path))
    assert old.status == 404


def test_pages_of_the_other_servers_may_use_files_and_sockets_and_strangers_may_not(shared_cluster):
    other = f"http://127.0.0.1:{shared_cluster.port(1)}"
    preflight, _ = get(shared_cluster, "/files", "OPTIONS", Origin=other, Access_Control_Request_Method="POST")
    assert preflight.getheader("Access-Control-Allow-Origin") == other
    assert "Authorization" in preflight.getheader("Access-Control-Allow-Headers")
    refused, _ = get(shared_cluster, "/files/ab", Origin=other)
    assert (refused.status, refused.getheader("Access-Control-Allow-Origin")) == (401, other)
    for stranger in ("http://evil.example", "http://127.0.0.1:1", "null"):
        answer, _ = get(shared_cluster, "/files/ab", Origin=stranger)
        assert answer.getheader("Access-Control-Allow-Origin") is None
    upgrade = {
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec_WebSocket_Version": "13",
        "Sec_WebSocket_Key": "dGhlIHNhbXBsZSBub25jZQ==",
    }
    for origin, status in ((other, 101), ("http://127.0.0.1:1", 403), ("http://evil.example", 403)):
        answer, _ = get(shared_cluster, "/ws", Origin=origin, **upgrade) if status != 101 else open_socket(
            shared_cluster, origin, upgrade
        )
        assert answer.status == status, origin


def open_socket(cluster, origin, headers):
    connection = http.client.HTTPConnection("127.0.0.1", cluster.port(0), timeout=20)
    connection.request("GET", "/ws", headers={"Origin": origin} | {k.replace("_", "-"): v for k, v in headers.items()})
    answer = connection.getresponse()
    connection.close()
    return answer, b""
