"""Programs of others, in front of a real cluster: what they send arrives as people would want to read it."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))

from cluster import Cluster, Line  # noqa: E402


class Hooks:
    """A cluster with webhooks, and what they have posted."""

    def __init__(self, cluster):
        self.cluster = cluster
        owner = Line(cluster, 0)
        owner.ask("register", username="owner", password="a long password")
        owner.ask("login", username="owner", password="a long password")
        self.owner = owner

    def new(self, room):
        """The path of a webhook of a room of its own."""
        self.owner.ask("create_join", room=room)
        return "/hooks/" + self.owner.ask("create_hook", room=room, username=f"{room}-bot")["token"]

    def messages(self, room, place=0):
        """What was said in the room, as one server tells it, once it has all that was committed."""
        reader = Line(self.cluster, place, "reader")
        reader.ask("ping", barrier=True)
        events = reader.ask("history", room=room, limit=500)["events"]
        reader.close()
        return [event for event in events if event["kind"] == "message"]

    def bodies(self, room, place=0):
        return [message["body"] for message in self.messages(room, place)]


@pytest.fixture(scope="module")
def hooks():
    cluster = Cluster()
    yield Hooks(cluster)
    cluster.stop()
