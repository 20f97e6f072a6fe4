"""The walk with the client of openapi-python-client."""

import sys
import uuid
from datetime import datetime, timedelta, timezone

from wallet_client import Client, models
from wallet_client.api.money import cancel, deposit, deposit_many, withdraw
from wallet_client.api.statement import get_statement
from wallet_client.api.transactions import list_transactions
from wallet_client.api.wallets import create_wallet, get_wallet

with Client(base_url=sys.argv[1]) as client:
    wallet = create_wallet.sync(client=client)
    # As text: the client passes a UUID to its HTTP library, which refuses UUIDs.
    key = str(uuid.uuid4())
    money = models.DepositRequest(amount=10000)
    for replayed in (None, "true"):
        response = deposit.sync_detailed(
            wallet.uuid, client=client, body=money, idempotency_key=key
        )
        assert response.headers.get("Idempotent-Replayed") == replayed
        made = response.parsed
        assert (made.wallet.balance, made.transaction.amount) == (10000, 10000)
        assert str(made.transaction.idempotency_key) == key
    planned = withdraw.sync(
        wallet.uuid,
        client=client,
        body=models.WithdrawRequest(
            amount=4000, scheduled_for=datetime.now(timezone.utc) + timedelta(days=1)
        ),
        idempotency_key=str(uuid.uuid4()),
    )
    assert planned.status == "PENDING", planned
    assert get_wallet.sync(wallet.uuid, client=client).balance == 10000
    (found,) = list_transactions.sync(
        wallet.uuid, client=client, status=models.TransactionStatus.PENDING
    )
    assert found == planned
    cancelled = cancel.sync(wallet.uuid, planned.id, client=client)
    assert cancelled.status == "CANCELLED"
    refused = cancel.sync(wallet.uuid, made.transaction.id, client=client)
    assert isinstance(refused, models.CancelProblem), refused
    assert (refused.code, refused.transaction_status) == ("not_cancelable", "COMPLETED")
    items = [
        models.DepositItem(wallet=one, amount=5, idempotency_key=uuid.uuid4())
        for one in (wallet.uuid, uuid.uuid4())
    ]
    done, problem = deposit_many.sync(client=client, body=items)
    assert (done.result, problem.problem.code) == ("done", "wallet_not_found")
    statement = get_statement.sync(wallet.uuid, client=client)
    assert [one.change for one in statement.movements] == [10000, 5]
with Client(base_url=sys.argv[1], headers={"Accept": "text/csv"}) as client:
    table = client.get_httpx_client().request(**get_statement._get_kwargs(wallet.uuid))
    assert table.text.startswith("sequence,at,kind"), table.text
