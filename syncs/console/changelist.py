"""Change lists that refuse what they do not understand.

The stock list drops a filter it cannot read and shows every row; with bulk actions that is a wrong act. Here a wrong value, an
unknown name or a page that does not exist gives an empty list and a sentence (``problems``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib.admin import ModelAdmin
from django.contrib.admin.exceptions import DisallowedModelAdminLookup
from django.contrib.admin.options import IS_POPUP_VAR, TO_FIELD_VAR, IncorrectLookupParameters
from django.contrib.admin.views.main import ALL_VAR, ERROR_FLAG, ORDER_VAR, PAGE_VAR, SEARCH_VAR, ChangeList
from django.core.paginator import InvalidPage, Paginator
from django.db.models import Model, QuerySet
from django.http import HttpRequest

if TYPE_CHECKING:
    _Admin = ModelAdmin[Any]
else:
    _Admin = ModelAdmin

COUNT_CAP = 10_000
_ALWAYS = {ALL_VAR, ERROR_FLAG, ORDER_VAR, PAGE_VAR, SEARCH_VAR, IS_POPUP_VAR, TO_FIELD_VAR}


class CheckedChangeList(ChangeList):
    """A list whose every query parameter is accounted for. ``extra_parameters``: names beside those of the filters."""

    extra_parameters: frozenset[str] = frozenset()
    filter_specs: list[Any]

    def __init__(self, request: HttpRequest, *args: Any, **kwargs: Any) -> None:
        self.problems: list[str] = []
        super().__init__(request, *args, **kwargs)

    def get_queryset(self, request: HttpRequest, exclude_parameters: Any = None) -> QuerySet[Model]:
        known = _ALWAYS | self.extra_parameters
        for list_filter in self.list_filter:
            known |= set(getattr(list_filter, "parameters", ()))
        for name in set(self.filter_params) - known:
            self.problems.append(f"This list has no filter called “{name}”.")
        self.filter_params = {
            name: value for name, value in self.filter_params.items() if name in known and name not in self.extra_parameters
        }
        try:
            queryset: QuerySet[Model] = super().get_queryset(request, exclude_parameters)
        except (IncorrectLookupParameters, DisallowedModelAdminLookup) as error:
            self.problems.append(str(error))
            self.clear_all_filters_qs = "?"
            queryset = self.root_queryset
        return queryset.none() if self.problems else queryset

    def get_results(self, request: HttpRequest) -> None:
        try:
            super().get_results(request)
            self.paginator.validate_number(request.GET.get(PAGE_VAR, "1"))
        except (IncorrectLookupParameters, InvalidPage):
            self.problems.append(f"There is no page {request.GET.get(PAGE_VAR, '')[:20]}.")
            self.queryset = self.queryset.none()
            self.page_num = 1
            super().get_results(request)

    @property
    def chips(self) -> list[tuple[str, str]]:
        """(text, query string without it) for every filter value in force."""
        return [chip for spec in self.filter_specs if hasattr(spec, "chips") for chip in spec.chips(self)]

    @property
    def without_search(self) -> str:
        return self.get_query_string(remove=[SEARCH_VAR])


class NewestFirstChangeList(CheckedChangeList):
    """Newest first by id, paged by ``before`` instead of an offset, counted up to ``COUNT_CAP``: depth costs nothing."""

    extra_parameters = frozenset({"before"})

    def get_results(self, request: HttpRequest) -> None:
        self.before = self._before(request)
        count = len(self.queryset.order_by().values_list("pk")[: COUNT_CAP + 1])
        page = self.queryset
        if self.before is not None:
            page = page.filter(pk__lt=self.before)
        rows = list(page[: self.list_per_page + 1])
        self.has_older = len(rows) > self.list_per_page
        self.result_list = rows[: self.list_per_page]
        self.result_count = min(count, COUNT_CAP)
        self.is_count_capped = count > COUNT_CAP
        self.full_result_count = None
        self.show_full_result_count = False
        self.show_admin_actions = bool(self.result_list)
        self.can_show_all = self.multi_page = False
        self.paginator = Paginator(self.result_list, self.list_per_page)

    def _before(self, request: HttpRequest) -> int | None:
        text = request.GET.get("before")
        if text is None:
            return None
        if not text.isdecimal() or len(text) > 18:
            self.problems.append(f"“{text[:40]}” is no place in this list.")
            self.queryset = self.queryset.none()
            return None
        return int(text)

    @property
    def newest_link(self) -> str:
        return self.get_query_string() if self.before is not None else ""

    @property
    def older_link(self) -> str:
        return self.get_query_string({"before": self.result_list[-1].pk}) if self.has_older else ""


class ConsoleAdmin(_Admin):
    """What the console's pages share: checked filters, no counts over the full table, no bulk delete."""

    show_full_result_count = False
    empty_value_display = "–"
    change_list_class: type[CheckedChangeList] = CheckedChangeList
    empty_list = ""

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return self.change_list_class

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        actions = super().get_actions(request)
        actions.pop("delete_selected", None)
        return actions
