"""An operator's proposal about a withdrawal in review, which another one confirms."""

import django.db.models.deletion
from django.db import migrations, models

from wallets.models.base import WrittenAtField
from wallets.utils.database import append_only

TABLES = ["wallets_reviewproposal"]


def install(apps, schema_editor):
    append_only.install(schema_editor.connection, TABLES)


def remove(apps, schema_editor):
    append_only.remove(schema_editor.connection, TABLES)


class Migration(migrations.Migration):
    dependencies = [("wallets", "0014_written_by_the_databases_clock")]

    operations = [
        migrations.CreateModel(
            name="ReviewProposal",
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
                ("attempt_number", models.PositiveSmallIntegerField()),
                ("proposed_by", models.CharField(max_length=150)),
                ("user_id", models.BigIntegerField(blank=True, null=True)),
                ("evidence", models.TextField()),
                ("created_at", WrittenAtField(editable=False)),
                (
                    "transaction",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="review_proposals",
                        to="wallets.transaction",
                    ),
                ),
            ],
            options={
                "ordering": ["-id"],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("transaction",), name="review_proposal_one_each"
                    )
                ],
            },
        ),
        migrations.RunPython(install, remove),
    ]
