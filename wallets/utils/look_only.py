"""The base of all pages of the admin: shows and finds rows, changes none."""

from __future__ import annotations

import uuid
from contextlib import suppress
from typing import Any, ClassVar

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest

from wallets.utils.limits import MAX_BIGINT


class LookOnly(admin.ModelAdmin):
    """Shows rows and finds them by id or UUID; never writes one."""

    id_fields: ClassVar[list[str]] = ["pk"]
    uuid_fields: ClassVar[list[str]] = []
    show_full_result_count = False
    list_per_page = 50
    # Enables the search box; `get_search_results` does the search.
    search_fields: ClassVar[list[str]] = ["pk"]

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Refuse to add rows."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Refuse to change rows."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Refuse to delete rows, whatever the permissions."""
        return False

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """Find by exact id or UUID, each by an index."""
        term = search_term.strip()
        if not term:
            return queryset, False
        fields: list[str] = []
        value: int | uuid.UUID = 0
        if term.isascii() and term.isdigit():
            value = int(term[:30])
            fields = self.id_fields if value <= MAX_BIGINT else []
        else:
            with suppress(ValueError):
                fields, value = self.uuid_fields, uuid.UUID(term)
        if not fields:
            return queryset.none(), False
        found = Q.create([(field, value) for field in fields], connector=Q.OR)
        return queryset.filter(found).distinct(), False

    @property
    def search_help_text(self) -> str:  # type: ignore[override]
        """Say what the search box accepts."""
        names = [
            name.replace("__", " ") for name in (*self.id_fields, *self.uuid_fields)
        ]
        return f"Exact {', '.join(names)}"
