"""A call that only the bank simulator has: past payments for its list.

Only commands for demo data use it, on this machine or in the compose network; payouts
never do.
"""

from __future__ import annotations

import json
import urllib.request
from datetime import datetime

from wallets.utils import instants
from wallets.utils.bank.interface import Payment

SECONDS = 10
# The simulator accepts 64 kB in a body; a line has about 200 bytes.
LINES = 200


def take_over(base_url: str, paid: list[tuple[Payment, datetime]]) -> None:
    """Put these payments, with their times, into the simulator's list.

    :raises OSError: there is no answer, or it is not the simulator.
    """
    lines = [
        {
            "reference": str(payment.reference),
            "wallet_uuid": str(payment.wallet_uuid),
            "amount": payment.amount,
            "paid_at": instants.write(moment),
        }
        for payment, moment in paid
    ]
    for start in range(0, len(lines), LINES):
        request = urllib.request.Request(  # noqa: S310 (the address is the operator's)
            f"{base_url.rstrip('/')}/payments",
            json.dumps({"payments": lines[start : start + LINES]}).encode(),
            {"Content-Type": "application/json"},
            method="PUT",
        )
        # No proxy of the environment: the simulator is local.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        opener.open(request, timeout=SECONDS).close()
