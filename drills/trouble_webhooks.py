"""Faults of webhooks: of the receiver, of sequencer and couriers, and the operator's acts."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping

from drills import webhooks
from drills.nemesis import Act, Fault, Kind, Nemesis
from drills.receiver import GONE, HOOKS, REFUSING, TAKING
from drills.webhooks import Receiver


class WebhookTrouble(Nemesis):
    """Whatever can happen between the ledger and a receiver."""

    def webhook_kinds(self) -> list[tuple[Kind, int]]:
        """Return these faults with their frequencies; none without a receiver."""
        if self._system.receiver is None:
            return []
        return [
            (self._receiver_mode, 10),
            (self._receiver_gone, 2),
            (self._restart_receiver, 3),
            (self._freeze_receiver, 2),
            (self._kill_courier, 4),
            (self._freeze_courier, 4),
            (self._kill_sequencer, 3),
            (self._freeze_sequencer, 3),
            (self._switch_on, 3),
            (self._switch_off, 1),
            (self._replay, 1),
        ]

    def _receiver_mode(self) -> Fault:
        mode = self._random.choice([*TAKING[1:], *REFUSING])
        hooks = self._random.choice([*HOOKS, HOOKS])
        seconds = self._random.uniform(1, 25)
        modes = dict.fromkeys([hooks] if isinstance(hooks, str) else hooks, mode)
        return f"receiver {mode}", self._receiver_for(seconds, modes)

    def _receiver_gone(self) -> Fault:
        """Answer 410 for a moment: the webhook is switched off at once."""
        modes = {self._random.choice(HOOKS): GONE}
        return f"receiver {GONE}", self._receiver_for(1.5, modes)

    def _receiver_for(self, seconds: float, modes: Mapping[str, str]) -> Act:
        def act() -> object:
            self._later(seconds, end)
            return self._tell(modes)

        def end() -> None:
            if not self._tell(dict.fromkeys(modes, "ok")):
                self._later(1, end)

        return act

    def _tell(self, modes: Mapping[str, str]) -> bool:
        """Set the receiver's modes, unless it is down."""
        receiver = self._receiver
        if receiver.name in self._hurt:
            return False
        with contextlib.suppress(OSError):
            receiver.set_modes(modes)
            return True
        return False

    def _restart_receiver(self) -> Fault:
        seconds = self._random.uniform(0, 8)
        return "receiver killed", lambda: self._restart(self._receiver, seconds)

    def _freeze_receiver(self) -> Fault:
        seconds = self._random.uniform(0.5, 6)
        return "receiver frozen", lambda: self._freeze(self._receiver, seconds)

    def _kill_courier(self) -> Fault:
        courier = self._random.choice(self._system.couriers)
        seconds = self._random.uniform(0, 6)
        return "courier killed", lambda: self._restart(courier, seconds)

    def _freeze_courier(self) -> Fault:
        """Freeze it, mostly for longer than its leases."""
        courier = self._random.choice(self._system.couriers)
        seconds = self._random.uniform(1, 15)
        return "courier frozen", lambda: self._freeze(courier, seconds)

    def _kill_sequencer(self) -> Fault:
        sequencer = self._random.choice(self._system.sequencers)
        seconds = self._random.uniform(0, 6)
        return "sequencer killed", lambda: self._restart(sequencer, seconds)

    def _freeze_sequencer(self) -> Fault:
        sequencer = self._random.choice(self._system.sequencers)
        seconds = self._random.uniform(1, 12)
        return "sequencer frozen", lambda: self._freeze(sequencer, seconds)

    def _switch_on(self) -> Fault:
        """Switch on what is off, as an operator does who has read the alarm."""

        def act() -> bool:
            with contextlib.suppress(OSError):
                uuids = self._receiver.uuids.values()
                return webhooks.switch_on_all(self._api_url(), uuids, seconds=2) > 0
            return False

        return "webhook switched on", act

    def _switch_off(self) -> Fault:
        hook = self._random.choice(HOOKS)
        off = {"enabled": False}
        return "webhook switched off", lambda: self._change(hook, "PATCH", "", off)

    def _replay(self) -> Fault:
        hook, share = self._random.choice(HOOKS), self._random.random()

        def act() -> bool:
            with contextlib.suppress(OSError):
                page = webhooks.ask(
                    self._api_url(), "GET", "/events/?limit=1000", seconds=2
                )
                # From somewhere in the last part of the first thousand.
                start = max(1, int(len(page) * (0.5 + share / 2)))
                return self._change(hook, "POST", "replay", {"from": start})
            return False

        return "webhook replayed", act

    def _change(self, hook: str, method: str, what: str, body: object) -> bool:
        path = f"/webhooks/{self._receiver.uuids[hook]}/{what}"
        with contextlib.suppress(OSError):
            webhooks.ask(self._api_url(), method, path, body, seconds=2)
            return True
        return False

    def _api_url(self) -> str:
        """Return the API's address.

        :raises OSError: it is hurt, so nobody waits for it.
        """
        if self._system.api.name in self._hurt:
            raise OSError("the API is hurt")
        return self._system.api.url

    @property
    def _receiver(self) -> Receiver:
        if self._system.receiver is None:
            raise RuntimeError("there is no receiver")
        return self._system.receiver


class OnlyWebhookTrouble(WebhookTrouble):
    """These faults only, so that a short run has many of them."""

    def kinds(self) -> list[tuple[Kind, int]]:
        """Return the kinds of faults of webhooks."""
        return self.webhook_kinds()
