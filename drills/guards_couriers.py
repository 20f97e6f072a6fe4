"""Guards of webhooks: replays, late results, places of those that work, what is told."""

from __future__ import annotations

from drills.guard import POSTGRESQL, Guard

_TESTS = "events/tests"
_API = f"{_TESTS}/test_api_webhooks.py"
_DELIVERY = f"{_TESTS}/test_webhook_delivery.py"
_LATE = f"{_TESTS}/test_webhook_late.py"
_PLACES = f"{_TESTS}/test_webhook_places.py"
_RECOVERY = f"{_TESTS}/test_webhook_recovery.py"
_SERVICES = "events/services/webhooks"

COURIER_GUARDS = (
    Guard(
        "a replay sends at once what waits for its next attempt",
        f"{_SERVICES}/repeat.py",
        "        switch.begin_anew(endpoint, now=now)\n",
        "",
        f"{_API}::ReplayTest",
    ),
    Guard(
        "a delivery that waits for another one has no time",
        f"{_SERVICES}/history.py",
        "    if first is not None and first < row.sequence:\n",
        "    if False:\n",
        f"{_API}::DeliveriesTest",
    ),
    Guard(
        "a delivery is not announced for a time at which its receiver wants quiet",
        f"{_SERVICES}/history.py",
        "    quiet = endpoint.quiet_until or row.due_at\n",
        "    quiet = row.due_at\n",
        f"{_API}::DeliveriesTest",
    ),
    Guard(
        "a late failure delays nothing that begins anew",
        f"{_SERVICES}/record.py",
        "    elif late:\n",
        "    elif False:\n",
        _LATE,
    ),
    Guard(
        "a late 410 to a test event does not switch off",
        f"{_SERVICES}/record.py",
        "        if written and reply.status == GONE and not late:\n",
        "        if written and reply.status == GONE:\n",
        _LATE,
    ),
    Guard(
        "what was sent before a switch off and on is late",
        f"{_SERVICES}/switch.py",
        "    endpoint.beginnings += 1\n",
        "",
        _LATE,
    ),
    Guard(
        "places are kept for those of which nothing is under way",
        f"{_SERVICES}/places.py",
        "        spare = free - self._size // 4\n",
        "        spare = free\n",
        _PLACES,
    ),
    Guard(
        "an endpoint that hangs has one place",
        f"{_SERVICES}/places.py",
        "        if endpoint in hanging:\n",
        "        if False:\n",
        _PLACES,
    ),
    Guard(
        "an endpoint that fails has one place",
        f"{_SERVICES}/claim.py",
        "    has_one = fails or is_busy(endpoint.busy_until, now)\n",
        "    has_one = is_busy(endpoint.busy_until, now)\n",
        _PLACES,
    ),
    Guard(
        "each time that nothing can be signed is an alarm",
        f"{_SERVICES}/switch.py",
        "        attempt_number=endpoint.unsigned_times,\n",
        "",
        f"{_DELIVERY}::UnreadableSecretTest",
    ),
    Guard(
        "who made a webhook is known",
        f"{_SERVICES}/endpoints.py",
        "            created_by=actor,\n",
        "",
        f"{_TESTS}/test_api_webhooks.py::ActorTest",
    ),
    Guard(
        "who changed a webhook last is known",
        f"{_SERVICES}/endpoints.py",
        '            changed = written | {"changed_by": actor, "updated_at": now}\n',
        '            changed = written | {"updated_at": now}\n',
        f"{_TESTS}/test_api_webhooks.py::ActorTest",
    ),
    Guard(
        "what waits behind a failed event is not read by each look",
        f"{_SERVICES}/lanes.py",
        "    WHERE {_OPEN} AND lane = %s AND sequence > %s ORDER BY lane, sequence LIMIT %s\n",
        "    WHERE {_OPEN} AND lane = %s AND sequence > %s ORDER BY lane || '', sequence LIMIT %s\n",
        f"{_TESTS}/test_webhook_plans.py",
        POSTGRESQL,
    ),
    Guard(
        "a replay of old events is no trouble",
        f"{_SERVICES}/health.py",
        "        since = max(since, endpoint.moved_at)\n",
        "        pass\n",
        f"{_TESTS}/test_webhook_health.py",
    ),
    Guard(
        "a slow receiver is no trouble of ours",
        f"{_SERVICES}/health.py",
        "    if waits > BEHIND_AFTER and _is_slow(endpoint, now):\n",
        "    if False:\n",
        f"{_TESTS}/test_webhook_health.py",
    ),
    Guard(
        "an overloaded receiver gets one event at a time",
        f"{_SERVICES}/claim.py",
        "    has_one = fails or is_busy(endpoint.busy_until, now)\n",
        "    has_one = fails\n",
        f"{_DELIVERY}::BusyReceiverTest",
    ),
    Guard(
        "a dead name is looked up once at a time",
        "events/utils/names.py",
        "            known = self._unfinished.get(host)\n",
        "            known = None\n",
        f"{_TESTS}/test_names.py",
    ),
    Guard(
        "unfinished look-ups have a limit",
        "events/utils/names.py",
        "            if len(self._unfinished) >= self._size:\n",
        "            if False:\n",
        f"{_TESTS}/test_names.py",
    ),
    Guard(
        "our own trouble is no failure of a receiver",
        f"{_SERVICES}/record.py",
        "    if reply.ours:\n",
        "    if False:\n",
        f"{_TESTS}/test_names.py",
    ),
    Guard(
        "a client does not learn which address a name has inside",
        "events/utils/webhook_client.py",
        "        raise AddressRefused(NOT_PUBLIC) from None\n",
        "        raise\n",
        f"{_TESTS}/test_webhook_client.py::NameTest",
    ),
    Guard(
        "a client does not learn which address did not answer",
        "events/utils/webhook_client.py",
        "            reason = reason.replace(str(address), target.host)\n",
        "",
        f"{_TESTS}/test_webhook_client.py::NameTest",
    ),
    Guard(
        "one tenant takes no room of another one",
        f"{_SERVICES}/endpoints.py",
        "    if rows.filter(tenant=tenant).count() >= settings.WEBHOOK_MAX_ENDPOINTS:\n",
        "    if rows.count() >= settings.WEBHOOK_MAX_ENDPOINTS:\n",
        f"{_TESTS}/test_tenants.py::RoomOfTenantTest",
    ),
    Guard(
        "all tenants together have a bound",
        f"{_SERVICES}/endpoints.py",
        "    if rows.count() >= settings.WEBHOOK_MAX_TOTAL:\n",
        "    if False:\n",
        f"{_TESTS}/test_tenants.py::RoomOfTenantTest",
    ),
    Guard(
        "two requests at one moment do not get the same last place",
        f"{_SERVICES}/endpoints.py",
        "    lock_rows(Endpoint.objects.filter(pk=oldest))\n",
        "    del oldest\n",
        f"{_TESTS}/test_webhook_races.py::RoomRaceTest",
        POSTGRESQL,
    ),
    Guard(
        "what was planned and is not sent is trouble",
        f"{_SERVICES}/health.py",
        "    waits += [_waits_planned(endpoint, now) for endpoint in planned.values()]\n",
        "",
        f"{_TESTS}/test_webhook_health.py",
    ),
    Guard(
        "a receiver that needs minutes for all wallets is no trouble of ours",
        f"{_SERVICES}/health.py",
        "    if since > late or claim.under_way(endpoint, now).exists():\n",
        "    if since > late:\n",
        f"{_TESTS}/test_webhook_health.py",
    ),
    Guard(
        "what is tried before its time uses up no attempt",
        f"{_SERVICES}/record.py",
        "        if planned is not None:\n",
        "        if False:\n",
        _RECOVERY,
    ),
    Guard(
        "a success lets nothing be tried twice in five minutes",
        f"{_SERVICES}/record.py",
        "    lately = Q(claimed_at__gt=now - HURRY_WAIT)\n",
        "    lately = Q(claimed_at__gt=now + HURRY_WAIT)\n",
        _RECOVERY,
    ),
    Guard(
        "a schedule of a clock that was ahead is not gone back to",
        f"{_SERVICES}/retries.py",
        "            return next_ if ended <= sent < next_ else None\n",
        "            return next_ if sent < next_ else None\n",
        f"{_TESTS}/test_webhook_clock.py",
    ),
)
