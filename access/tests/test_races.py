"""Operators who make, rotate and revoke the same key at once."""

from __future__ import annotations

from functools import partial

from access.errors import KeyChanged, NoSuchKey
from access.models.api_key import ApiKey
from access.models.key_event import KeyEvent
from access.services import keys
from access.services.keys import Made, Wanted
from access.tests.access import ACTOR
from wallets.errors import LostRace
from wallets.tests.base import CommittingTestCase
from wallets.tests.races import race
from wallets.utils.database.transactions import database_now

TIMES = 5
ALL = Wanted(["*"])


class KeyRaceTest(CommittingTestCase):
    def names(self) -> list[str]:
        return [f"key-{number}" for number in range(TIMES)]

    def test_makes_one_key_of_a_name(self) -> None:
        for name in self.names():
            results = race(*[partial(keys.create, name, ALL, actor=ACTOR)] * 3)
            kinds = sorted(type(one).__name__ for one in results)
            with self.subTest(name):
                self.assertEqual(kinds, ["Made", "NameTaken", "NameTaken"])
                self.assertEqual(ApiKey.objects.filter(name=name).count(), 1)

    def test_gives_one_new_secret_to_two_who_saw_the_same_key(self) -> None:
        for name in self.names():
            seen = keys.create(name, ALL, actor=ACTOR).key.prefix
            rotate = partial(
                keys.rotate, name, overlap=60, actor=ACTOR, expected_prefix=seen
            )
            results = race(rotate, rotate)
            made = [one for one in results if isinstance(one, Made)]
            refused = [
                one for one in results if isinstance(one, (KeyChanged, LostRace))
            ]
            with self.subTest(name):
                self.assertEqual((len(made), len(refused)), (1, 1), results)
                current = ApiKey.objects.get(name=name, current=True)
                self.assertEqual(current, made[0].key)

    def test_leaves_no_secret_that_works_after_a_revocation(self) -> None:
        """Whichever comes first: what was rotated before is revoked, or not rotated."""
        for name in self.names():
            keys.create(name, ALL, actor=ACTOR)
            rotated, revoked = race(
                partial(keys.rotate, name, overlap=60, actor=ACTOR),
                partial(keys.revoke, name, reason="leaked", actor=ACTOR),
            )
            with self.subTest(name):
                self.assertIsInstance(revoked, list, revoked)
                self.assertIsInstance(rotated, (Made, NoSuchKey, LostRace), rotated)
                working = [
                    one.prefix
                    for one in ApiKey.objects.filter(name=name)
                    if one.state(database_now()) in ("works", "rotated")
                ]
                self.assertEqual(working, [])

    def test_tells_of_one_revocation(self) -> None:
        name = "shop"
        keys.create(name, ALL, actor=ACTOR)

        def revoke() -> list[ApiKey]:
            return keys.revoke(name, reason="leaked", actor=ACTOR)

        results = race(revoke, revoke)
        refused = [one for one in results if isinstance(one, (NoSuchKey, LostRace))]
        self.assertEqual(len(refused), 1, results)
        self.assertEqual(KeyEvent.objects.filter(kind="revoked").count(), 1)
