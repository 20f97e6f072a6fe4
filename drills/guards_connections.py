"""Guards against clients that read slowly or request much; see `drills.guard`."""

from __future__ import annotations

from drills.guard import POSTGRESQL, Guard

_EXPORTS = "test_exports.py::ExportsTest::test_"

CONNECTION_GUARDS = (
    Guard(
        "few long answers at a time",
        "wallets/views/http/exports.py",
        "            if len(self._places) == self._most:\n",
        "            if False:\n",
        f"{_EXPORTS}another_one_is_refused_with_a_time_to_retry",
    ),
    Guard(
        "a slow reader of a long answer loses its place",
        "wallets/views/http/exports.py",
        "if slowest.rate() >= LEAST_RATE or len(self._lost) == self._most:",
        "if True:",
        "test_exports.py::SlowReaderTest",
    ),
    Guard(
        "threads for long answers are bounded by twice the places",
        "wallets/views/http/exports.py",
        "if slowest.rate() >= LEAST_RATE or len(self._lost) == self._most:",
        "if slowest.rate() >= LEAST_RATE:",
        "test_exports.py::SlowReaderTest",
    ),
    Guard(
        "a long answer ends",
        "wallets/views/http/exports.py",
        "            raise ExportTookTooLong\n",
        "            pass\n",
        f"{_EXPORTS}breaks_off_after_its_time",
    ),
    Guard(
        "a past balance is one row of an index, whatever was counted",
        "wallets/utils/database/transactions.py",
        "    with transaction.atomic(), read_by_index():\n",
        "    with transaction.atomic():\n",
        "test_statement.py::PastTest::"
        "test_reads_one_row_of_an_index_whatever_postgresql_last_counted",
        POSTGRESQL,
    ),
    Guard(
        "the API's document is made by one thread",
        "wallets/views/docs.py",
        "    with _writing:\n        return _written()\n",
        "    return _written()\n",
        "test_api_docs.py::GeneratedTest::"
        "test_is_made_once_while_other_threads_wait_for_it",
    ),
    Guard(
        "no upload is written to disk",
        "wallet/settings.py",
        'FILE_UPLOAD_HANDLERS = ["django.core.files.uploadhandler.MemoryFileUploadHandler"]',
        "",
        "test_settings.py::UploadTest",
    ),
    Guard(
        "an expectation has any case",
        "wallets/asgi/heads.py",
        '    expected = [value.lower() for value in judged.get(b"expect", [])]\n',
        '    expected = judged.get(b"expect", [])\n',
        "test_asgi_deadlines.py::HeadsTest",
    ),
    Guard(
        "an expectation that nobody knows is refused",
        "wallets/asgi/heads.py",
        '    if expected not in ([], [b"100-continue"]):\n',
        "    if False:\n",
        "test_asgi_deadlines.py::HeadsTest",
    ),
    Guard(
        "the figures need the token after the scheme",
        "wallets/views/metrics.py",
        "    is_right = constant_time_compare(token, settings.METRICS_TOKEN)\n",
        "    is_right = True\n",
        "test_metrics.py::ScrapeTest",
    ),
    Guard(
        "the admin filters by nothing but its filters",
        "wallets/utils/look_only.py",
        "        for name in found[2]:\n",
        "        for name in ():\n",
        "test_admin.py::AdminTest::test_filters_by_nothing_but_its_filters",
    ),
    Guard(
        "the admin filters users by nothing but its filters",
        "wallets/admin.py",
        "admin.site.register(User, Users)\n",
        "from django.contrib.auth.admin import UserAdmin\n\n"
        "admin.site.register(User, UserAdmin)\n",
        "test_admin.py::AdminTest::test_filters_by_nothing_but_its_filters",
    ),
)
