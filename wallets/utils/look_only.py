"""The base of all pages of the admin: shows and finds rows, changes none."""

from __future__ import annotations

import uuid
from contextlib import suppress
from typing import Any, ClassVar

from django.contrib import admin
from django.contrib.admin.exceptions import DisallowedModelAdminLookup
from django.contrib.admin.views.main import ChangeList
from django.contrib.auth.admin import GroupAdmin, UserAdmin
from django.db.models import Q, QuerySet
from django.http import HttpRequest

from wallets.utils.limits import MAX_BIGINT


class ItsFilters(ChangeList):
    """A list that is filtered by its filters alone.

    Django also filters by any column and any look-up that the URL names. Some of them
    fail in the database, and a few only when the query is run: that would be a 500.
    """

    def get_filters(self, request: HttpRequest) -> Any:
        """Return what Django does; refuse parameters that belong to no filter (400)."""
        found = super().get_filters(request)
        for name in found[2]:
            raise DisallowedModelAdminLookup(f"Filtering by {name} not allowed")
        return found


class ByItsFilters(admin.ModelAdmin):
    """Lists are filtered by the filters of this class alone."""

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        """Return the class of the list."""
        return ItsFilters


class Users(ByItsFilters, UserAdmin):
    """Django's page of users."""


class Groups(ByItsFilters, GroupAdmin):
    """Django's page of groups."""


class LookOnly(ByItsFilters):
    """Shows rows and finds them by id, UUID or exact text; never writes one."""

    ordering: ClassVar[Any] = ("-pk",)
    id_fields: ClassVar[list[str]] = ["pk"]
    uuid_fields: ClassVar[list[str]] = []
    text_fields: ClassVar[list[str]] = []
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
        """Find by exact id, UUID or text, each by an index."""
        term = search_term.strip()
        if not term:
            return queryset, False
        found: list[Any] = [(field, term) for field in self.text_fields]
        if term.isascii() and term.isdigit():
            number = int(term[:30])
            if number <= MAX_BIGINT:
                found += [(field, number) for field in self.id_fields]
        else:
            with suppress(ValueError):
                value = uuid.UUID(term)
                found += [(field, value) for field in self.uuid_fields]
        if not found:
            return queryset.none(), False
        chosen = Q.create(found, connector=Q.OR)
        return queryset.filter(chosen).distinct(), False

    @property
    def search_help_text(self) -> str:  # type: ignore[override]
        """Say what the search box accepts."""
        names = [
            name.replace("__", " ")
            for name in (*self.id_fields, *self.uuid_fields, *self.text_fields)
        ]
        return f"Exact {', '.join(names)}"
