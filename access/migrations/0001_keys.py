"""Keys, and their append-only history. New tables only."""

import django.db.models.deletion
from django.db import migrations, models

import wallets.models.base
from wallets.utils.database import append_only

TABLES = ["access_keyevent"]


def install(apps, schema_editor):
    append_only.install(schema_editor.connection, TABLES)


def remove(apps, schema_editor):
    append_only.remove(schema_editor.connection, TABLES)


class Migration(migrations.Migration):

    initial = True

    dependencies = [
        ("wallets", "0018_corrections"),
    ]

    operations = [
        migrations.CreateModel(
            name="ApiKey",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True,
                        primary_key=True,
                        serialize=False,
                        verbose_name="ID",
                    ),
                ),
                ("name", models.CharField(max_length=63)),
                ("prefix", models.CharField(max_length=11, unique=True)),
                ("digest", models.CharField(max_length=64, unique=True)),
                ("scopes", models.JSONField()),
                ("tenant", models.CharField(blank=True, default="", max_length=63)),
                ("rate", models.PositiveIntegerField(blank=True, null=True)),
                ("current", models.BooleanField(blank=True, default=True, null=True)),
                ("created_at", wallets.models.base.WrittenAtField(editable=False)),
                ("created_by", models.CharField(max_length=150)),
                ("expires_at", models.DateTimeField(blank=True, null=True)),
                ("last_used_at", models.DateTimeField(blank=True, null=True)),
                ("revoked_at", models.DateTimeField(blank=True, null=True)),
                (
                    "revoked_by",
                    models.CharField(blank=True, default="", max_length=150),
                ),
                (
                    "revoked_reason",
                    models.CharField(blank=True, default="", max_length=500),
                ),
                (
                    "rotated_from",
                    models.OneToOneField(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="rotated_to",
                        to="access.apikey",
                    ),
                ),
            ],
            options={
                "ordering": ["id"],
            },
        ),
        migrations.CreateModel(
            name="KeyEvent",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True,
                        primary_key=True,
                        serialize=False,
                        verbose_name="ID",
                    ),
                ),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("created", "Created"),
                            ("rotated", "Rotated"),
                            ("revoked", "Revoked"),
                        ],
                        max_length=8,
                    ),
                ),
                ("actor", models.CharField(max_length=150)),
                ("reason", models.CharField(blank=True, default="", max_length=500)),
                ("said", models.JSONField(default=dict)),
                ("created_at", wallets.models.base.WrittenAtField(editable=False)),
                (
                    "key",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="events",
                        to="access.apikey",
                    ),
                ),
            ],
            options={
                "ordering": ["id"],
            },
        ),
        migrations.AddConstraint(
            model_name="apikey",
            constraint=models.UniqueConstraint(
                fields=("name", "current"), name="api_key_one_current_of_a_name"
            ),
        ),
        migrations.AddConstraint(
            model_name="apikey",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("current__isnull", True),
                    models.Q(("current", True), ("current__isnull", False)),
                    _connector="OR",
                ),
                name="api_key_current_or_null",
            ),
        ),
        migrations.AddConstraint(
            model_name="apikey",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("name", ""), _negated=True),
                    models.Q(("created_by", ""), _negated=True),
                    models.Q(("digest", ""), _negated=True),
                ),
                name="api_key_has_name_and_digest",
            ),
        ),
        migrations.AddConstraint(
            model_name="apikey",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("rate__isnull", True),
                    models.Q(("rate__gte", 1), ("rate__isnull", False)),
                    _connector="OR",
                ),
                name="api_key_rate_positive",
            ),
        ),
        migrations.AddConstraint(
            model_name="apikey",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(
                        ("revoked_at__isnull", True),
                        ("revoked_by", ""),
                        ("revoked_reason", ""),
                    ),
                    models.Q(
                        ("current__isnull", True),
                        ("revoked_at__isnull", False),
                        models.Q(("revoked_by", ""), _negated=True),
                        models.Q(("revoked_reason", ""), _negated=True),
                    ),
                    _connector="OR",
                ),
                name="api_key_revoked_by_somebody",
            ),
        ),
        migrations.AddConstraint(
            model_name="apikey",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("current__isnull", False),
                    ("revoked_at__isnull", False),
                    ("expires_at__isnull", False),
                    _connector="OR",
                ),
                name="api_key_rotated_away_ends",
            ),
        ),
        migrations.AddConstraint(
            model_name="keyevent",
            constraint=models.UniqueConstraint(
                fields=("key", "kind"), name="key_event_once_of_a_kind"
            ),
        ),
        migrations.AddConstraint(
            model_name="keyevent",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("actor", ""), _negated=True),
                    models.Q(("kind", ""), _negated=True),
                ),
                name="key_event_has_actor",
            ),
        ),
        migrations.RunPython(install, remove),
    ]
