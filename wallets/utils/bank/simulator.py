"""The bank simulator's own call, which no bank has: payments of the past for its list.

Only demo data needs it. It is asked on this machine or in the compose network, and by
commands alone; what pays out never comes here.
"""

from __future__ import annotations

import json
import urllib.request
from datetime import datetime

from wallets.utils import instants
from wallets.utils.bank.interface import Payment

SECONDS = 10
# A call's body is at most 64 kB there; a line has about 200 bytes.
LINES = 200


def take_over(base_url: str, paid: list[tuple[Payment, datetime]]) -> None:
    """Put these payments into the simulator's list, with their times.

    :raises OSError: nobody answers there, or it is not the simulator.
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
        # No proxy of the environment: it is this machine's, or the compose network's.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        opener.open(request, timeout=SECONDS).close()
