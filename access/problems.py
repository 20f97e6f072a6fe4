"""The problems that the application adds to the catalogue."""

from __future__ import annotations

from wallets.views.problems.problem import Problem

PROBLEMS: tuple[Problem, ...] = (
    Problem(
        "unauthenticated",
        401,
        "A key is required",
        "The request has no key that works now: send `Authorization: Bearer` with a key, "
        "once. An unknown key, a wrong one, an expired one and a revoked one have this "
        "same answer.",
    ),
    Problem(
        "rate_limited",
        429,
        "Too many requests",
        "The key has made as many requests as it may in a minute. Nothing was done: "
        "repeat the request after the seconds of Retry-After.",
    ),
)
