"""Tools that post to webhooks, as their makers ship them."""

import json
import shutil
import subprocess
import time
import urllib.request

import apprise
from cluster import free_base, wait_for
from slack_sdk.http_retry.builtin_handlers import ConnectionErrorRetryHandler, ServerErrorRetryHandler
from slack_sdk.webhook import WebhookClient


def test_slack_sdk(hooks):
    path = hooks.new("slack")
    client = WebhookClient(
        f"http://127.0.0.1:{hooks.cluster.port(1)}{path}",
        retry_handlers=[ConnectionErrorRetryHandler(max_retry_count=3), ServerErrorRetryHandler(max_retry_count=3)],
    )
    answers = [
        client.send(text="plain &amp; <https://ci/7|build 7>"),
        client.send(
            text="fallback",
            blocks=[
                {"type": "header", "text": {"type": "plain_text", "text": "Disk full"}},
                {"type": "section", "text": {"type": "mrkdwn", "text": "*db1* at 97 %"}},
            ],
        ),
        client.send_dict({"attachments": [{"title": "High load", "fields": [{"title": "cpu", "value": 97}]}]}),
    ]
    assert [(answer.status_code, answer.body) for answer in answers] == [(200, "ok")] * 3
    assert hooks.bodies("slack", 2) == [
        "plain & build 7 (https://ci/7)",
        "Disk full\n*db1* at 97 %",
        "High load\ncpu: 97",
    ]


def test_apprise(hooks):
    path = hooks.new("apprise")
    port = hooks.cluster.port(0)
    token = path.removeprefix("/hooks/")
    sender = apprise.Apprise()
    # Mattermost's webhooks have the form of Slack's; JSON is what Apprise sends to unknown services.
    for url in [f"mmost://127.0.0.1:{port}/{token}", f"json://127.0.0.1:{port}{path}"]:
        assert sender.add(url)
    assert sender.notify(title="Backup", body="all is well")
    bodies = hooks.bodies("apprise")
    assert len(bodies) == 2 and all("Backup" in body and "all is well" in body for body in bodies), bodies


def test_alertmanager(hooks, tmp_path):
    path, own_path = hooks.new("alerts"), hooks.new("own")
    port = free_base()
    (tmp_path / "alertmanager.yml").write_text(
        json.dumps(
            {
                "route": {
                    "receiver": "chat",
                    "group_by": ["alertname"],
                    "group_wait": "0s",
                    "group_interval": "1s",
                    "repeat_interval": "1h",
                },
                "receivers": [
                    {
                        "name": "chat",
                        "slack_configs": [
                            {
                                "api_url": f"http://127.0.0.1:{hooks.cluster.port(2)}{path}",
                                "channel": "#alerts",
                                "send_resolved": True,
                                "text": "{{ range .Alerts }}{{ .Annotations.summary }}{{ end }}",
                            }
                        ],
                        # The form that Alertmanager has of its own.
                        "webhook_configs": [
                            {
                                "url": f"http://127.0.0.1:{hooks.cluster.port(1)}{own_path}",
                                "send_resolved": True,
                            }
                        ],
                    }
                ],
            }
        )
    )
    with open(tmp_path / "out", "wb") as out:
        manager = subprocess.Popen(
            [
                shutil.which("prometheus-alertmanager") or shutil.which("alertmanager"),
                f"--config.file={tmp_path}/alertmanager.yml",
                f"--storage.path={tmp_path}/data",
                f"--web.listen-address=127.0.0.1:{port}",
                "--cluster.listen-address=",
            ],
            stdout=out,
            stderr=out,
        )
    url = f"http://127.0.0.1:{port}"

    def is_ready():
        with urllib.request.urlopen(f"{url}/-/ready", timeout=3) as answer:
            return answer.status == 200

    def tell(**more):
        alert = {"labels": {"alertname": "DiskFull", "instance": "db1"}, "annotations": {"summary": "97 %"}} | more
        body = json.dumps([alert]).encode()
        request = urllib.request.Request(f"{url}/api/v2/alerts", body, {"Content-Type": "application/json"})
        urllib.request.urlopen(request, timeout=10).read()

    try:
        wait_for("Alertmanager", is_ready)
        # The server that it posts to is away at first: Alertmanager tries again, and the alert comes once.
        hooks.cluster.kill(2)
        tell()
        wait_for("a failed try", lambda: b"connection refused" in (tmp_path / "out").read_bytes())
        hooks.cluster.start_all()
        wait_for("the alert", lambda: hooks.bodies("alerts"))
        past = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - 1))
        tell(endsAt=past)
        for room in ("alerts", "own"):
            wait_for("the end of the alert", lambda room=room: len(hooks.bodies(room)) > 1)
        fired, resolved = hooks.bodies("alerts")
        own_fired, own_resolved = hooks.bodies("own")
    finally:
        manager.kill()
        manager.wait()
    # The title is a link to Alertmanager.
    assert fired.startswith("[FIRING:1] DiskFull (db1) (http://") and fired.endswith("\n97 %"), fired
    assert resolved.startswith("[RESOLVED] DiskFull"), resolved
    assert own_fired == "[FIRING:1] DiskFull\nfiring: DiskFull (instance=db1)\n97 %", own_fired
    assert own_resolved.startswith("[RESOLVED:1] DiskFull\nresolved: DiskFull (instance=db1)"), own_resolved
