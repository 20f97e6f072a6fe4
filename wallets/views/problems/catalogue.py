"""Every problem of the API: code, HTTP status and meaning.

The documentation is generated from `PROBLEMS`; no other code can be answered.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import chain

from wallets.utils import extensions
from wallets.views.problems.problem import Problem
from wallets.views.problems.transfer_problems import TRANSFER_PROBLEMS
from wallets.views.problems.wallet_problems import WALLET_PROBLEMS

_TABLE = (
    # 400: the request is never valid as it was sent.
    Problem(
        "bad_request",
        400,
        "Bad request",
        "The request cannot be read as HTTP for this service: for example its Host is "
        "not one that the service answers to.",
    ),
    Problem(
        "invalid_request",
        400,
        "Several fields are wrong",
        "More than one field was refused; `errors` has one entry, with a code, for each.",
    ),
    Problem(
        "body_required",
        400,
        "A body is required",
        "The request has no body. Send JSON.",
    ),
    Problem(
        "body_incomplete",
        400,
        "The body is incomplete",
        "Fewer bytes arrived than were announced, or the chunks were malformed.",
    ),
    Problem(
        "json_invalid",
        400,
        "The body is not strict JSON",
        "The body must be one JSON object (for many at once: one array) in UTF-8, "
        "without duplicate names, NaN or Infinity, lone surrogates or NUL, nested at "
        "most 16 levels deep.",
    ),
    Problem(
        "too_many_items",
        400,
        "Too many items",
        "One request takes at most 1,000 items. Nothing was done.",
    ),
    Problem(
        "item_invalid",
        400,
        "Invalid item",
        "An item must be a JSON object.",
    ),
    Problem(
        "required",
        400,
        "A field is missing",
        "A field that the request needs was not sent.",
    ),
    Problem(
        "unknown_field",
        400,
        "Unknown field",
        "The body has a field that this request does not have. Unknown fields are "
        "refused, because a misspelt field would change the meaning of the request.",
    ),
    Problem(
        "wallet_invalid",
        400,
        "Invalid wallet",
        "The wallet must be its UUID in the canonical lower-case form, as text.",
    ),
    Problem(
        "amount_invalid",
        400,
        "Invalid amount",
        "The amount must be a JSON integer of minor units, 1 or more: no fraction, no "
        "exponent, no text, no boolean.",
    ),
    Problem(
        "amount_too_large",
        400,
        "The amount is too large",
        "The amount is over the limit of 10^15 minor units for one operation.",
    ),
    Problem(
        "scheduled_for_invalid",
        400,
        "Invalid time",
        "The time must be a text in the form of RFC 3339, with date, time and offset, "
        "such as 2026-02-17T12:00:00Z.",
    ),
    Problem(
        "scheduled_for_in_the_past",
        400,
        "The time is not in the future",
        "The time of a withdrawal must be after the time of the request.",
    ),
    Problem(
        "scheduled_for_too_far",
        400,
        "The time is too far away",
        "The time is beyond the horizon for which withdrawals are accepted.",
    ),
    Problem(
        "idempotency_key_invalid",
        400,
        "Invalid idempotency key",
        "The Idempotency-Key header must be sent once and hold one UUID, bare or in "
        "double quotes; the `idempotency_key` of an item must be one UUID, as text.",
    ),
    Problem(
        "parameter_unknown",
        400,
        "Unknown query parameter",
        "The URL has a query parameter that this resource does not have.",
    ),
    Problem(
        "parameter_repeated",
        400,
        "Repeated query parameter",
        "A query parameter was sent more than once.",
    ),
    Problem(
        "parameter_invalid",
        400,
        "Invalid query parameter",
        "A query parameter has a value outside the documented ones.",
    ),
    Problem(
        "cursor_invalid",
        400,
        "Invalid cursor",
        "The cursor was not issued by this service for this list. Follow the URLs of "
        "the Link header as they are.",
    ),
    Problem("invalid", 400, "Invalid value", "A value is never valid."),
    # 401 to 415: refusals of HTTP itself, and of the present state.
    Problem(
        "unauthorized",
        401,
        "Unauthorized",
        "The request needs credentials that it does not have. `WWW-Authenticate` names "
        "them.",
    ),
    Problem(
        "forbidden", 403, "Forbidden", "The request is understood and not permitted."
    ),
    Problem("not_found", 404, "Not found", "There is nothing at this path."),
    Problem(
        "wallet_not_found",
        404,
        "No such wallet",
        "No wallet has this UUID.",
    ),
    Problem(
        "transaction_not_found",
        404,
        "No such transaction",
        "The wallet has no transaction with this id.",
    ),
    Problem(
        "method_not_allowed",
        405,
        "Method not allowed",
        "The resource does not have this method; the Allow header lists its methods.",
    ),
    Problem(
        "not_acceptable",
        406,
        "Not acceptable",
        "The resource has no media type that the Accept header accepts; every resource "
        "has JSON.",
    ),
    Problem(
        "not_cancelable",
        409,
        "Not cancelable",
        "Only a withdrawal that is PENDING, or FAILED with a retry to come, can be "
        "cancelled; `transaction_status` is its status.",
    ),
    Problem(
        "not_reschedulable",
        409,
        "Not reschedulable",
        "Only a withdrawal that is PENDING can be rescheduled; `transaction_status` is "
        "its status.",
    ),
    Problem(
        "request_in_progress",
        409,
        "A request is in progress",
        "Another request with the same key, or for the same wallet, is not finished "
        "yet. Repeat this one, with its key, after the seconds of Retry-After.",
    ),
    Problem(
        "refused", 409, "Refused", "The request is understood and cannot be done now."
    ),
    Problem(
        "illegal_transition",
        409,
        "Not possible in this state",
        "The state of the withdrawal does not allow this step.",
    ),
    Problem(
        "unknown_is_not_failed",
        409,
        "The outcome is not known",
        "Held money is released only on evidence that the bank did not pay.",
    ),
    Problem(
        "length_required",
        411,
        "Length required",
        "The server does not accept a chunked body; send Content-Length.",
    ),
    Problem(
        "content_too_large",
        413,
        "The body is too large",
        "The body is larger than the limit of this request, which `detail` tells in bytes.",
    ),
    Problem(
        "uri_too_long",
        414,
        "The URL is too long",
        "The first line of the request is longer than 4,094 bytes.",
    ),
    Problem(
        "unsupported_media_type",
        415,
        "Unsupported media type",
        "The body must be sent as application/json, in UTF-8, without Content-Encoding.",
    ),
    # 422: well-formed, and refused because of the data.
    Problem(
        "idempotency_key_reused",
        422,
        "Idempotency key reused",
        "The key was used before for another request: with another wallet, operation, "
        "amount, time or words. Send a new key for a new request.",
    ),
    Problem(
        "balance_limit",
        422,
        "Balance limit",
        "The wallet would hold more than 10^15 minor units, money in flight included.",
    ),
    Problem(
        "insufficient_balance",
        422,
        "Insufficient balance",
        "The wallet holds less than the amount.",
    ),
    Problem(
        "currency_not_payable",
        422,
        "The bank does not pay this currency",
        "The bank pays one currency, and the wallet has another one. Nothing was done, "
        "and an Idempotency-Key can be used again.",
    ),
    Problem(
        "headers_too_large",
        431,
        "The headers are too large",
        "A header is longer than 8,190 bytes, or there are more than 100.",
    ),
    # 5xx: failures of the service.
    Problem(
        "internal_error",
        500,
        "Internal error",
        "The service failed; the failure is logged. Repeat the request with the same "
        "Idempotency-Key: it has one effect in any case.",
    ),
    Problem(
        "service_unavailable",
        503,
        "Service unavailable",
        "The service cannot answer now, usually because its database does not answer. "
        "Repeat the request, with its key, after the seconds of Retry-After.",
    ),
)
_ADDED = chain.from_iterable(extensions.of_each("problems", "PROBLEMS"))
PROBLEMS: Mapping[str, Problem] = {
    problem.code: problem
    for problem in chain(_TABLE, WALLET_PROBLEMS, TRANSFER_PROBLEMS, _ADDED)
}
