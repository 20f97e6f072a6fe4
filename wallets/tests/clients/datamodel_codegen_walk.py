"""The walk with the models of datamodel-codegen, which generates no calls."""

import json
import sys
import uuid
from datetime import datetime, timedelta, timezone

import httpx
import wallet_client as models

with httpx.Client(base_url=sys.argv[1]) as http:

    def call(kind, method, path, body=None, **options):
        content = body.model_dump_json() if body else None
        headers = {"Content-Type": "application/json", **options.pop("headers", {})}
        answer = http.request(method, path, content=content, headers=headers, **options)
        return kind.model_validate_json(answer.content)

    wallet = call(models.Wallet, "POST", "/wallets/")
    base = f"/wallets/{wallet.uuid}"
    key = {"Idempotency-Key": str(uuid.uuid4())}
    for _ in range(2):
        money = models.DepositRequest(amount=10000)
        made = call(models.Deposit, "POST", f"{base}/deposit", money, headers=key)
        assert made.wallet.balance == 10000
    when = datetime.now(timezone.utc) + timedelta(days=1)
    wanted = models.WithdrawRequest(amount=4000, scheduled_for=when)
    planned = call(models.Transaction, "POST", f"{base}/withdraw", wanted)
    assert planned.status == "PENDING"
    assert call(models.Wallet, "GET", f"{base}/") == wallet.model_copy(
        update={"balance": 10000}
    )
    query = {"status": models.TransactionStatus.PENDING.value}
    (found,) = http.get(f"{base}/transactions/", params=query).json()
    assert models.Transaction.model_validate_json(json.dumps(found)) == planned
    one = f"{base}/transactions"
    cancelled = call(models.Transaction, "POST", f"{one}/{planned.id}/cancel")
    assert cancelled.status == "CANCELLED"
    refused = call(models.CancelProblem, "POST", f"{one}/{made.transaction.id}/cancel")
    assert refused.transaction_status == "COMPLETED"
    assert call(models.Statement, "GET", f"{base}/statement/").closing_balance == 10000
