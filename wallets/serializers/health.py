"""The answers of the health checks."""

from __future__ import annotations

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from wallets.serializers.fields import WordField
from wallets.serializers.problem import ProblemSerializer


@extend_schema_field(
    {"type": "object", "additionalProperties": {"type": "string"}},
    component_name="Checks",
)
class ChecksField(serializers.DictField):
    """The state of each part, by its name."""

    child = serializers.CharField()


@extend_schema_field(
    {"type": "object", "additionalProperties": {"type": ["number", "null"]}},
    component_name="SweepAges",
)
class AgesField(serializers.DictField):
    """Seconds, by the name of a sweep; null for a sweep that never ran."""

    child = serializers.FloatField(allow_null=True)


_CHECKS = "`ok`, or what is wrong, for each part."
_AGES = "Seconds since each sweep last ran."


class AliveSerializer(serializers.Serializer):
    """The process answers."""

    status = WordField(["ok"], help_text="Always `ok`.")


class ReadySerializer(serializers.Serializer):
    """Whether all parts of the service work."""

    status = WordField(
        ["ok", "degraded"],
        help_text="Degraded: requests are served, payments are late.",
    )
    checks = ChecksField(help_text=_CHECKS)
    sweep_age_seconds = AgesField(help_text=_AGES)


class ReadyProblemSerializer(ProblemSerializer):
    """Why requests cannot be served."""

    checks = ChecksField(required=False, help_text=_CHECKS)
    sweep_age_seconds = AgesField(required=False, help_text=_AGES)
