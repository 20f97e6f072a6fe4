"""Keys: made, rotated, revoked; their history; the command."""

from __future__ import annotations

import hashlib
import io
import json
from datetime import timedelta
from unittest import mock

from django.core.management import CommandError, call_command
from django.db import OperationalError, connection

from access.errors import InvalidKey, KeyChanged, NameTaken, NoSuchKey
from access.models.api_key import ApiKey
from access.models.key_event import KeyEvent
from access.services import keys
from access.services.keys import Wanted
from access.tests.access import ACTOR, Keys
from access.utils import secret
from wallets.errors import InvalidInput
from wallets.tests.base import WalletTestCase

ALL = Wanted(["*"])


def told(name: str) -> list[tuple[str, str, str]]:
    """Return kind, actor and reason of each entry in the history."""
    return [(one.kind, one.actor, one.reason) for one in keys.history(name)]


class CreateTest(Keys, WalletTestCase):
    def test_stores_the_digest_of_the_secret_and_not_the_secret(self) -> None:
        made = self.key()
        self.assertRegex(made.secret, r"\Awk_[a-z0-9]{8}_[A-Za-z0-9_-]{43}\Z")
        digest = hashlib.sha256(made.secret.encode()).hexdigest()
        self.assertEqual(ApiKey.objects.get().digest, digest)
        with connection.cursor() as cursor:
            cursor.execute("SELECT * FROM access_apikey")
            rows = str(cursor.fetchall())
            cursor.execute("SELECT * FROM access_keyevent")
            rows += str(cursor.fetchall())
        self.assertNotIn(made.secret[12:], rows)
        self.assertNotIn(made.secret, repr(made))

    def test_makes_another_secret_each_time(self) -> None:
        self.assertEqual(len({secret.make().secret for _ in range(100)}), 100)

    def test_tells_the_history_what_was_asked_for(self) -> None:
        self.key("shop", "wallets:read", "deposits:write", tenant="acme", rate=7)
        (event,) = keys.history("shop")
        self.assertEqual((event.kind, event.actor), ("created", ACTOR))
        self.assertEqual(
            (event.said["scopes"], event.said["tenant"], event.said["rate"]),
            (["deposits:write", "wallets:read"], "acme", 7),
        )

    def test_refuses_a_value_that_no_key_can_have(self) -> None:
        past = self.now - timedelta(seconds=1)
        for field, name, wanted in (
            ("name", "", ALL),
            ("name", "Shop", ALL),
            ("name", "operator oscar", ALL),
            ("name", "client", ALL),
            ("name", "shop\n", ALL),
            ("name", "x" * 64, ALL),
            ("scopes", "shop", Wanted([])),
            ("scopes", "shop", Wanted(["wallets"])),
            ("scopes", "shop", Wanted(["wallets:read", "wallets:delete"])),
            ("scopes", "shop", Wanted(["**"])),
            ("tenant", "shop", Wanted(["*"], tenant="a b")),
            ("tenant", "shop", Wanted(["*"], tenant="x" * 64)),
            ("rate", "shop", Wanted(["*"], rate=0)),
            ("rate", "shop", Wanted(["*"], rate=10_000_001)),
            ("expires_at", "shop", Wanted(["*"], expires_at=past)),
        ):
            with self.subTest(field=field, name=name, wanted=wanted):
                with self.assertRaises(InvalidKey) as caught:
                    keys.create(name, wanted, actor=ACTOR)
                self.assertEqual(caught.exception.field, field)
        with self.assertRaises(InvalidInput):
            keys.create("shop", ALL, actor=" ")
        self.assertFalse(ApiKey.objects.exists())

    def test_takes_a_name_once_until_it_is_revoked(self) -> None:
        self.key()
        with self.assertRaises(NameTaken):
            self.key()
        keys.revoke("shop", reason="gone", actor=ACTOR)
        self.key()
        self.assertEqual(ApiKey.objects.filter(name="shop").count(), 2)

    def test_makes_one_key_when_the_reply_to_its_commit_is_lost(self) -> None:
        lost = [OperationalError(2013, "Lost connection")]

        def run(work):  # as `run_in_transaction` does
            work()
            lost.pop()
            return work()

        with mock.patch.object(keys, "run_in_transaction", run):
            made = keys.create("shop", ALL, actor=ACTOR)
        self.assertEqual(ApiKey.objects.get(), made.key)


class RotateTest(Keys, WalletTestCase):
    def works(self, made: keys.Made) -> bool:
        self.live.refresh()
        return self.live.find(secret.digest_of(made.secret)) is not None

    def test_lets_both_secrets_work_until_the_overlap_ends(self) -> None:
        old = self.key("shop", "wallets:read", tenant="acme", rate=9)
        new = keys.rotate("shop", overlap=10, actor="oscar")
        self.assertTrue(self.works(old))
        self.assertTrue(self.works(new))
        row = ApiKey.objects.get(pk=old.key.pk)
        left = row.expires_at - new.key.created_at
        self.assertEqual(left, timedelta(seconds=10))
        same = ("name", "scopes", "tenant", "rate")
        self.assertEqual(
            [getattr(old.key, name) for name in same],
            [getattr(new.key, name) for name in same],
        )
        self.assertEqual(new.key.rotated_from, old.key)

    def test_without_an_overlap_ends_the_old_secret_at_once(self) -> None:
        old = self.key()
        new = keys.rotate("shop", overlap=0, actor=ACTOR)
        self.assertFalse(self.works(old))
        self.assertTrue(self.works(new))

    def test_does_not_make_the_old_secret_live_longer(self) -> None:
        old = self.key(expires_at=self.after(5))
        keys.rotate("shop", overlap=1000, actor=ACTOR)
        self.assertEqual(ApiKey.objects.get(pk=old.key.pk).expires_at, self.after(5))

    def test_gives_the_new_secret_the_life_of_the_old_one(self) -> None:
        old = self.key(expires_at=self.after(1000)).key
        new = keys.rotate("shop", overlap=0, actor=ACTOR).key
        self.assertEqual(
            new.expires_at - new.created_at, old.expires_at - old.created_at
        )

    def test_tells_who_did_it(self) -> None:
        self.key()
        keys.rotate("shop", overlap=1, actor="oscar")
        self.assertEqual(
            told("shop"),
            [
                ("created", ACTOR, ""),
                ("rotated", "oscar", ""),
                ("created", "oscar", ""),
            ],
        )

    def test_refuses_another_key_than_the_one_that_was_looked_at(self) -> None:
        old = self.key().key.prefix
        keys.rotate("shop", overlap=1, actor=ACTOR, expected_prefix=old)
        with self.assertRaises(KeyChanged):
            keys.rotate("shop", overlap=1, actor=ACTOR, expected_prefix=old)
        with self.assertRaises(KeyChanged):
            keys.revoke("shop", reason="x", actor=ACTOR, expected_prefix=old)

    def test_refuses_what_is_not_there_or_too_long(self) -> None:
        with self.assertRaises(NoSuchKey):
            keys.rotate("shop", overlap=1, actor=ACTOR)
        self.key()
        for overlap in (-1, 30 * 86400 + 1, float("nan"), float("inf")):
            with self.subTest(overlap), self.assertRaises(InvalidKey):
                keys.rotate("shop", overlap=overlap, actor=ACTOR)


class RevokeTest(Keys, WalletTestCase):
    def test_ends_all_secrets_of_the_name(self) -> None:
        old = self.key()
        new = keys.rotate("shop", overlap=1000, actor=ACTOR)
        other = self.key("other")
        revoked = keys.revoke("shop", reason=" leaked ", actor="oscar")
        self.assertEqual([one.pk for one in revoked], [old.key.pk, new.key.pk])
        self.live.refresh()
        found = [
            self.live.find(secret.digest_of(one.secret)) for one in (old, new, other)
        ]
        self.assertEqual([one is not None for one in found], [False, False, True])
        self.assertEqual(told("shop")[-1], ("revoked", "oscar", "leaked"))

    def test_needs_a_reason_and_a_key(self) -> None:
        with self.assertRaises(NoSuchKey):
            keys.revoke("shop", reason="x", actor=ACTOR)
        self.key()
        for reason in ("", " ", "x" * 501, "a\x00b"):
            with self.subTest(reason), self.assertRaises(InvalidKey):
                keys.revoke("shop", reason=reason, actor=ACTOR)
        keys.revoke("shop", reason="x", actor=ACTOR)
        with self.assertRaises(NoSuchKey):
            keys.revoke("shop", reason="x", actor=ACTOR)

    def test_is_done_once_when_the_reply_to_its_commit_is_lost(self) -> None:
        self.key()

        def run(work):
            work()
            return work()

        with mock.patch.object(keys, "run_in_transaction", run):
            (revoked,) = keys.revoke("shop", reason="x", actor=ACTOR)
        self.assertEqual(revoked.revoked_by, ACTOR)
        self.assertEqual(KeyEvent.objects.filter(kind="revoked").count(), 1)


class UsageTest(Keys, WalletTestCase):
    def test_is_noted_beside_the_requests(self) -> None:
        made, other = self.key("shop"), self.key("other")
        with self.assertNumQueries(0):
            self.live.find(made.key.digest)
        self.live.tell_usage()
        made.key.refresh_from_db()
        other.key.refresh_from_db()
        self.assertGreaterEqual(made.key.last_used_at, self.now)
        self.assertIsNone(other.key.last_used_at)

    def test_is_never_set_back(self) -> None:
        made = self.key()
        ApiKey.objects.update(last_used_at=self.after(1000))
        self.live.find(made.key.digest)
        self.live.tell_usage()
        made.key.refresh_from_db()
        self.assertEqual(made.key.last_used_at, self.after(1000))

    def test_is_kept_while_the_database_is_away(self) -> None:
        made = self.key()
        self.live.find(made.key.digest)
        away = mock.patch(
            "access.services.usage.run_in_transaction", side_effect=OperationalError
        )
        with away, self.assertRaises(OperationalError):
            self.live.tell_usage()
        self.live.tell_usage()
        made.key.refresh_from_db()
        self.assertIsNotNone(made.key.last_used_at)


class CommandTest(Keys, WalletTestCase):
    def run_command(self, *words: str) -> tuple[str, str]:
        out, err = io.StringIO(), io.StringIO()
        call_command("api_key", *words, stdout=out, stderr=err)
        return out.getvalue(), err.getvalue()

    def test_prints_a_secret_once_and_alone(self) -> None:
        make = ("create", "shop", "--scopes", "wallets:read", "--by", "oscar")
        out, err = self.run_command(*make)
        self.assertRegex(out, r"\Awk_\S{52}\n\Z")
        self.assertIn("shown once", err)
        self.live.refresh()
        self.assertIsNotNone(self.live.find(secret.digest_of(out.strip())))
        listed, _ = self.run_command("list")
        self.assertIn(f"shop {out[:11]} works, may wallets:read, tenant -", listed)
        self.assertNotIn(out.strip(), listed + err)

    def test_rotates_and_revokes(self) -> None:
        self.key()
        out, _ = self.run_command("rotate", "shop", "--overlap", "5", "--by", "oscar")
        self.assertRegex(out, r"\Awk_\S{52}\n\Z")
        why = ("--reason", "leaked", "--by", "oscar")
        out, _ = self.run_command("revoke", "shop", *why)
        self.assertEqual(out.count("revoked shop wk_"), 2)
        history, _ = self.run_command("history", "shop")
        self.assertEqual(history.count("revoked by oscar: leaked"), 2)

    def test_says_in_one_line_why_it_refuses(self) -> None:
        for words, reason in (
            (("create", "shop", "--scopes", "all", "--by", "x"), "no scope 'all'"),
            (("create", "A", "--scopes", "*", "--by", "x"), "lower-case"),
            (("rotate", "shop", "--by", "x"), "no key 'shop'"),
            (("revoke", "shop", "--reason", "x", "--by", "x"), "no key 'shop'"),
        ):
            with self.subTest(words), self.assertRaises(CommandError) as caught:
                self.run_command(*words)
            self.assertIn(reason, str(caught.exception))
            self.assertNotIn("\n", str(caught.exception))

    def test_says_in_one_line_that_an_end_is_no_time_or_has_passed(self) -> None:
        new = ("create", "shop", "--scopes", "*", "--by", "x", "--expires")
        self.key("till")
        for words in (new, ("rotate", "till", "--by", "x", "--expires")):
            for sent, reason in (
                ("yesterday", "'yesterday' is neither a date such as 2030-01-31 nor"),
                ("2020-01-01", "at 2020-01-01T00:00:00Z, which is not in the future"),
                ("2020-01-01T01:00:00+01:00", "at 2020-01-01T00:00:00Z, which"),
            ):
                with (
                    self.subTest(words[0], sent=sent),
                    self.assertRaises(CommandError) as caught,
                ):
                    self.run_command(*words, sent)
                self.assertIn(reason, str(caught.exception))
                self.assertNotIn("\n", str(caught.exception))

    def test_says_in_one_line_that_there_is_no_key_of_a_name(self) -> None:
        why = ("--reason", "x", "--by", "x")
        for name in ("nobody", "", "\udcff", "a\0", "A b"):
            for words in (
                ("history", name),
                ("rotate", name, "--by", "x"),
                ("revoke", name, *why),
            ):
                with (
                    self.subTest(ascii(words)),
                    self.assertRaises(CommandError) as caught,
                ):
                    self.run_command(*words)
                self.assertIn(f"no key {name!r}", str(caught.exception))


class HealthTest(Keys, WalletTestCase):
    def test_says_that_nobody_can_call(self) -> None:
        checks = json.loads(self.client.get("/readyz").content)["checks"]
        self.assertEqual(checks["keys"], "missing: nobody can call the API")
        self.key()
        checks = json.loads(self.client.get("/readyz").content)["checks"]
        self.assertEqual(checks["keys"], "ok")
