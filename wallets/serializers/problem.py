"""Problems (RFC 9457). `views.problems.problem_response` writes them."""

from __future__ import annotations

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from wallets.models.transaction import Transaction
from wallets.serializers.fields import WordField


@extend_schema_field({"type": "string", "format": "uri-reference"})
class UriReferenceField(serializers.CharField):
    """A URL, or a path of this service."""


class FieldErrorSerializer(serializers.Serializer):
    """What is wrong with one field, header or query parameter."""

    field = serializers.CharField(help_text="The field, query parameter or header.")
    code = serializers.CharField(help_text="Stable, like the problem's code.")
    detail = serializers.CharField(help_text="A sentence for people.")


class ProblemSerializer(serializers.Serializer):
    """A refusal or a failure."""

    type = UriReferenceField(help_text="A page that explains the code.")
    title = serializers.CharField(help_text="The code in words.")
    status = serializers.IntegerField(help_text="The HTTP status.")
    code = serializers.CharField(
        help_text="Stable: compare this. The description of each answer lists its codes."
    )
    detail = serializers.CharField(help_text="A sentence for people.")
    errors = FieldErrorSerializer(  # type: ignore[assignment]
        many=True,
        help_text="One for each wrong field, parameter or header; at most 10.",
    )


class CancelProblemSerializer(ProblemSerializer):
    """Why a withdrawal is not cancelled."""

    transaction_status = WordField(
        Transaction.Status.choices,
        required=False,
        help_text="The status of the withdrawal. Only with `not_cancelable`.",
    )


class RescheduleProblemSerializer(ProblemSerializer):
    """Why a withdrawal is not rescheduled."""

    transaction_status = WordField(
        Transaction.Status.choices,
        required=False,
        help_text="The status of the withdrawal. Only with `not_reschedulable`.",
    )
