"""Patience that takes no time: pauses between attempts are counted, not slept."""

from __future__ import annotations

import pytest

from loadcast.storage.blob import client
from loadcast.storage.blob.policy import Patience, Policy


class VirtualClock:
    """A clock that only pauses move."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        """Pause."""
        self.now += seconds


@pytest.fixture
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Containers are asked as often as ever, without pauses."""
    use_patience(monkeypatch, Patience())


@pytest.fixture
def few_attempts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Containers are asked three times or so, without pauses."""
    use_patience(monkeypatch, Patience(first_contact_s=1.6, deadline_s=1.6))


def use_patience(monkeypatch: pytest.MonkeyPatch, patience: Patience) -> None:
    """Make all new connections of this process have this patience, on a clock that only pauses move."""
    clock = VirtualClock()
    monkeypatch.setattr(client, "Policy", lambda: Policy(patience, clock.sleep, clock))
    monkeypatch.setattr(client, "_clients", {})
