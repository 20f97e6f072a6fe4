"""Guards between tenants; see `drills.guard`."""

from __future__ import annotations

from drills.guard import POSTGRESQL, Guard

_TENANCY = "wallets/views/http/tenancy.py"
_HIDDEN = "test_tenants.py::HiddenWalletTest"
_KEYS = "test_tenants.py::KeyOfTenantTest"
_SHARED = "test_shared_wallet.py"
_EVENTS = "events/tests/test_tenants.py"

TENANT_GUARDS = (
    Guard(
        "a wallet of another tenant does not exist",
        _TENANCY,
        "    return {one for one in wallets if found.get(one) != caller.tenant}\n",
        "    return {one for one in wallets if one not in found}\n",
        _HIDDEN,
    ),
    Guard(
        "a statement as CSV is only the tenant's",
        "wallets/views/statement.py",
        "        tenancy.check(caller, wallet_uuid)\n",
        "",
        _HIDDEN,
    ),
    Guard(
        "a transfer is shown if both wallets are the tenant's",
        "wallets/services/reads/transfers.py",
        "        rows = rows.filter(from_wallet__tenant=tenant, to_wallet__tenant=tenant)\n",
        "        pass\n",
        _HIDDEN,
    ),
    Guard(
        "the callers of a batch are served apart",
        _TENANCY,
        "        numbers.setdefault(one.caller, []).append(number)\n",
        "        numbers.setdefault(asked[0].caller, []).append(number)\n",
        _KEYS,
    ),
    Guard(
        "what one caller of a batch has done is not done again when another fails",
        _TENANCY,
        "        except Exception as error:  # noqa: BLE001 (the others' must not fail)\n",
        "        except ZeroDivisionError as error:\n",
        "test_tenants.py::CallersOfOneBatchTest",
    ),
    Guard(
        "a key stands for a request of its tenant only",
        "wallets/services/requests/idempotency.py",
        ".filter(tenant=tenant)\n",
        "\n",
        _KEYS,
    ),
    Guard(
        "two tenants' withdrawals never have one bank reference",
        "wallets/services/withdrawals/schedule_batch.py",
        "        if (request.wallet_uuid, request.key) in self.used:\n",
        "        if False:\n",
        _KEYS,
    ),
    Guard(
        "two tenants' withdrawals never have one bank reference, on the fast path",
        "wallets/services/withdrawals/schedule_postgresql.py",
        "        AND (tenant = '' OR NOT EXISTS (\n",
        "        AND (true OR NOT EXISTS (\n",
        f"{_SHARED}::RequestAfterAnotherTest",
        POSTGRESQL,
    ),
    Guard(
        "two callers' withdrawals of one wallet never have one key, also at once",
        "wallets/services/withdrawals/schedule_postgresql.py",
        "tenant <> '' AS from_tenants_wallet",
        "false AS from_tenants_wallet",
        _SHARED,
        POSTGRESQL,
    ),
    Guard(
        "two callers' withdrawals of one wallet never have one key, step by step",
        "wallets/services/withdrawals/schedule_batch.py",
        "from_tenants_wallet=bool(wallet.tenant)",
        "from_tenants_wallet=False",
        _SHARED,
        POSTGRESQL,
    ),
    Guard(
        "a payment is not entered while its withdrawal is scheduled",
        "wallets/services/operations/record.py",
        "    wallet = history.lock(wallet_uuid)\n",
        "    wallet = Wallet.objects.get(uuid=wallet_uuid)\n",
        f"{_SHARED}::RecordedWhileScheduledTest",
        POSTGRESQL,
    ),
    Guard(
        "a wallet has the name of who created it",
        "wallets/services/wallets/create.py",
        "        created_by=caller.actor,\n        created_at=moment,\n",
        "        created_at=moment,\n",
        "test_wallet_create.py::CreateManyTest",
    ),
    Guard(
        "a wallet has the name of who created it, on the fast path",
        "wallets/services/ledger/ledger_postgresql.py",
        '        "actor": caller.actor,\n        "now": now,\n',
        '        "actor": "client",\n        "now": now,\n',
        "test_wallet_create.py::CreateManyTest",
        POSTGRESQL,
    ),
    Guard(
        "the event of a wallet's creation has its actor",
        "events/services/content.py",
        '            | {"actor": one.created_by},\n',
        '            | {"actor": "client"},\n',
        f"{_EVENTS}::EventsOfTenantTest",
    ),
    Guard(
        "the list of wallets is only the tenant's",
        "wallets/services/reads/wallet_list.py",
        "Wallet.objects.filter(tenant=tenant) if tenant else Wallet.objects.all()",
        "Wallet.objects.all()",
        "test_tenants.py::TenantTest",
    ),
    Guard(
        "the list of transactions is only the tenant's",
        "wallets/services/reads/transaction_list.py",
        '        known["owner"] = tenant\n',
        "",
        "test_tenants.py::TenantTest",
    ),
    Guard(
        "the feed is only the tenant's",
        "events/services/feed.py",
        "        rows = rows.alias(owner=tenant_of_wallet()).filter(owner=asked.tenant)\n",
        "        pass\n",
        f"{_EVENTS}::EventsOfTenantTest",
    ),
    Guard(
        "two tenants' events never have one id",
        "events/services/content.py",
        '    return f"{transaction.tenant} {key}" if transaction.tenant else key\n',
        "    return key\n",
        f"{_EVENTS}::EventsOfTenantTest",
    ),
    Guard(
        "a webhook gets only its tenant's events",
        "events/services/webhooks/planning.py",
        ", tenant=endpoint.tenant)\n",
        ")\n",
        f"{_EVENTS}::EventsOfTenantTest",
    ),
    Guard(
        "a webhook of another tenant does not exist",
        "events/services/webhooks/endpoints.py",
        "    return rows.filter(tenant=tenant) if tenant else rows\n",
        "    return rows\n",
        f"{_EVENTS}::HiddenWebhookTest",
    ),
)
