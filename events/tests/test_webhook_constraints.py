"""Every constraint of webhooks refuses a row that breaks it, by raw SQL."""

from __future__ import annotations

from typing import Any

from django.db import DatabaseError, connection, transaction

from events.models.delivery import Delivery
from events.models.endpoint import Endpoint
from events.services.webhooks import claim
from events.tests.webhooks import WebhookTestCase

TOKEN = "0" * 32
# Each constraint: the model, and an assignment of SQL that breaks it.
HITS: tuple[tuple[str, type[Any], str], ...] = (
    ("endpoint_off_has_reason", Endpoint, "off_because = 'failing'"),
    ("endpoint_off_has_reason", Endpoint, "enabled = FALSE"),
    ("endpoint_old_secret_ends", Endpoint, "old_seed = 'x', old_fingerprint = 'x'"),
    ("endpoint_old_secret_ends", Endpoint, "old_ends_at = created_at"),
    ("endpoint_has_secret", Endpoint, "secret_seed = ''"),
    ("endpoint_has_secret", Endpoint, "secret_fingerprint = ''"),
    ("endpoint_deleted_is_off", Endpoint, "deleted_at = created_at"),
    ("delivery_sequence_unique", Delivery, "sequence = 2"),
    ("delivery_open_or_closed", Delivery, "closed_at = created_at"),
    ("delivery_open_or_closed", Delivery, "{open} = NULL, outcome = 'failed'"),
    ("delivery_open_or_closed", Delivery, "{open} = FALSE"),
    ("delivery_closed_has_outcome", Delivery, "outcome = 'delivered'"),
    (
        "delivery_closed_has_outcome",
        Delivery,
        "{open} = NULL, closed_at = created_at",
    ),
    ("delivery_lease_is_of_an_open_one", Delivery, f"lease_token = '{TOKEN}'"),
)


class WebhookConstraintTest(WebhookTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.hook = self.endpoint().endpoint
        self.pay_in(1, 2)
        self.plan()

    def plan(self) -> None:
        """Plan both deliveries, and claim none."""
        (sending,) = claim.claim(self.hook.pk, room=1)
        Delivery.objects.filter(pk=sending.delivery.pk).update(
            lease_token=None, claimed_at=None
        )

    def test_refuses_the_row_that_breaks_it(self) -> None:
        for name, model, assignment in HITS:
            row = model.objects.order_by("pk")[0]
            table = connection.ops.quote_name(model._meta.db_table)
            change = assignment.format(open=connection.ops.quote_name("open"))
            with (
                self.subTest(name, assignment=assignment),
                self.assertRaises(DatabaseError) as got,
                transaction.atomic(),
                connection.cursor() as cursor,
            ):
                cursor.execute(f"UPDATE {table} SET {change} WHERE id = {row.pk}")
            by_columns = "endpoint_id, events_delivery.sequence"
            message = str(got.exception)
            self.assertTrue(name in message or by_columns in message, message)

    def test_is_tested_each(self) -> None:
        declared = {
            constraint.name
            for model in (Endpoint, Delivery)
            for constraint in model._meta.constraints
        }
        self.assertEqual(declared, {name for name, _, _ in HITS})

    def test_is_in_the_database(self) -> None:
        with connection.cursor() as cursor:
            for model in (Endpoint, Delivery):
                found = connection.introspection.get_constraints(
                    cursor, model._meta.db_table
                )
                names = {constraint.name for constraint in model._meta.constraints}
                self.assertLessEqual(names, set(found))
