"""Guards of webhooks: nothing lost, order of each wallet, no address inside."""

from __future__ import annotations

from drills.guard import POSTGRESQL, Guard
from drills.guards_couriers import COURIER_GUARDS

_TESTS = "events/tests"
_DELIVERY = f"{_TESTS}/test_webhook_delivery.py"
_LANES = f"{_TESTS}/test_webhook_lanes.py"
_CLIENT = f"{_TESTS}/test_webhook_client.py"
_API = f"{_TESTS}/test_api_webhooks.py"
_SERVICES = "events/services/webhooks"
_ADDRESSES = "events/utils/addresses.py"

WEBHOOK_GUARDS = (
    *COURIER_GUARDS,
    Guard(
        "only the first open delivery of a wallet is sent",
        f"{_SERVICES}/lanes.py",
        "        SELECT CASE WHEN {_IS_DUE} THEN one.sequence END FROM events_delivery one\n",
        "        SELECT MIN(CASE WHEN {_IS_DUE} THEN sequence END) FROM events_delivery one\n",
        f"{_DELIVERY}::OrderTest",
    ),
    Guard(
        "a damaged event ends no courier",
        f"{_SERVICES}/courier.py",
        "        return claim.claim(endpoint_id, room=room)\n    except DAMAGED:\n",
        "        return claim.claim(endpoint_id, room=room)\n    except ArithmeticError:\n",
        f"{_DELIVERY}::DeliveryTest",
    ),
    Guard(
        "a test event reads nothing that was delivered",
        f"{_SERVICES}/repeat.py",
        "filter(states, lane=event_id)",
        "filter(event_id=event_id)",
        f"{_TESTS}/test_webhook_plans.py",
        POSTGRESQL,
    ),
    Guard(
        "the first delivery of a wallet is the one that was planned first",
        f"{_SERVICES}/lanes.py",
        "        WHERE {_OPEN} AND one.lane = lanes.lane ORDER BY one.sequence LIMIT 1\n",
        "        WHERE {_OPEN} AND one.lane = lanes.lane ORDER BY -one.sequence LIMIT 1\n",
        f"{_DELIVERY}::OrderTest",
    ),
    Guard(
        "a delivery under way is not claimed again",
        f"{_SERVICES}/claim.py",
        '        "due_at": now + timedelta(seconds=settings.WEBHOOK_LEASE),\n',
        '        "due_at": now,\n',
        f"{_DELIVERY}::OrderTest",
    ),
    Guard(
        "only the holder of the lease records",
        f"{_SERVICES}/record.py",
        "        pk=sending.delivery.pk, lease_token=sending.token, open=True\n",
        "        pk=sending.delivery.pk, open=True\n",
        f"{_DELIVERY}::OrderTest",
    ),
    Guard(
        "an event of a wallet is sent only when the one before was received",
        f"{_SERVICES}/courier.py",
        "        goes_on = reply.received and sending",
        "        goes_on = sending",
        f"{_LANES}::LaneTest::test_stops_at_the_first_event_that_is_not_received",
    ),
    Guard(
        "a failure of one wallet's event stops those of others",
        f"{_SERVICES}/courier.py",
        "        goes_on = reply.received and sending.endpoint.pk not in self._failed\n",
        "        goes_on = reply.received\n",
        f"{_LANES}::LaneTest::test_stops_when_another_wallets_event_is_not_received",
    ),
    Guard(
        "a courier that is stopped sends nothing more",
        f"{_SERVICES}/courier.py",
        "        next_ = sending.following() if goes_on and not stopping.wait(0) else None\n",
        "        next_ = sending.following() if goes_on else None\n",
        f"{_LANES}::LaneTest::test_stops_when_the_process_is_stopped",
    ),
    Guard(
        "an error of the client ends no lane for good",
        f"{_SERVICES}/courier.py",
        '            self._end_lane(sending, Reply(None, f"not sent: {error}"))\n',
        "            pass\n",
        f"{_LANES}::LaneTest::test_stops_at_an_error_of_the_client_and_ends_nothing",
    ),
    Guard(
        "what was claimed and not sent is released",
        f"{_SERVICES}/record.py",
        "            _release(sending, now)\n",
        "",
        _LANES,
    ),
    Guard(
        "an endpoint is looked at again after a second",
        f"{_SERVICES}/claim.py",
        "        if not self.later or at > self.later_before:\n",
        "        if not self.later:\n",
        f"{_LANES}::LaneTest::test_is_claimed_again_after_a_second",
    ),
    Guard(
        "what waits behind an event takes no place",
        f"{_SERVICES}/claim.py",
        'under_way(endpoint, now).order_by().values("lane").distinct()\n',
        'under_way(endpoint, now).order_by().values("pk")\n',
        f"{_LANES}::LaneTest::test_leaves_a_place_to_a_second_wallet",
    ),
    Guard(
        "claims of one endpoint wait for each other",
        f"{_SERVICES}/claim.py",
        "        locked = lock_rows(rows, skip_locked=True)\n",
        "        locked = list(rows)\n",
        f"{_TESTS}/test_webhook_races.py",
        POSTGRESQL,
    ),
    Guard(
        "a clock that was set back stops nothing",
        f"{_SERVICES}/claim.py",
        "    return Q(due_at__lte=now) | Q(claimed_at__gt=now)\n",
        "    return Q(due_at__lte=now)\n",
        f"{_DELIVERY}::ClockTest",
    ),
    Guard(
        "the place moves together with the deliveries",
        f"{_SERVICES}/planning.py",
        "        position=position,\n        next_sequence=first + len(rows),\n",
        "        next_sequence=first + len(rows),\n",
        f"{_DELIVERY}::DeliveryTest",
    ),
    Guard(
        "replies are kept while the database is away",
        f"{_SERVICES}/courier.py",
        "                self._unrecorded += results\n",
        "                pass\n",
        f"{_DELIVERY}::DatabaseAwayTest",
    ),
    Guard(
        "a replay skips nothing",
        f"{_SERVICES}/repeat.py",
        "        if before < endpoint.position:\n",
        "        if True:\n",
        f"{_API}::ReplayTest",
    ),
    Guard(
        "only 2xx is a success",
        "events/utils/webhook_client.py",
        "200 <= self.status <= 299",
        "200 <= self.status <= 399",
        f"{_CLIENT}::ReceiverTest",
    ),
    Guard(
        "the last failure switches off",
        f"{_SERVICES}/record.py",
        "    elif wait is None:\n",
        "    elif wait is False:\n",
        f"{_DELIVERY}::RetryTest",
    ),
    Guard(
        "an endpoint that fails is not given all of the feed",
        f"{_SERVICES}/planning.py",
        "    if endpoint.failures_in_row >= FAILS_AFTER and _is_full(endpoint):\n",
        "    if False:\n",
        f"{_DELIVERY}::RetryTest",
    ),
    Guard(
        "one wallet's failures do not stop the others",
        f"{_SERVICES}/planning.py",
        "    if endpoint.failures_in_row >= FAILS_AFTER and _is_full(endpoint):\n",
        "    if _is_full(endpoint):\n",
        f"{_DELIVERY}::OrderTest",
    ),
    Guard(
        "nothing is sent to a receiver that asked for quiet",
        f"{_SERVICES}/claim.py",
        "        rows = Endpoint.objects.filter(_is_sent_to(now), pk=endpoint_id, enabled=True)\n",
        "        rows = Endpoint.objects.filter(pk=endpoint_id, enabled=True)\n",
        f"{_DELIVERY}::BusyReceiverTest",
    ),
    Guard(
        "a receiver that asked for quiet is sent to again after a clock was set back",
        f"{_SERVICES}/claim.py",
        "    return Q(quiet_until=None) | Q(quiet_until__lte=now) | too_far\n",
        "    return Q(quiet_until=None) | Q(quiet_until__lte=now)\n",
        f"{_DELIVERY}::BusyReceiverTest",
    ),
    Guard(
        "one endpoint has few calls under way",
        f"{_SERVICES}/claim.py",
        "        most = min(room, places_left(endpoint, now))\n",
        "        most = room\n",
        f"{_DELIVERY}::DeliveryTest",
    ),
    Guard(
        "no secret but the receiver's signs",
        "events/utils/signatures.py",
        "        if hmac.compare_digest(_fingerprint(text), stored.fingerprint):\n",
        "        if True:\n",
        f"{_DELIVERY}::UnreadableSecretTest",
    ),
    Guard(
        "the old secret ends",
        "events/models/endpoint.py",
        "        return [self.secret] if old is None or ended else [self.secret, old]\n",
        "        return [self.secret] if old is None else [self.secret, old]\n",
        f"{_API}::RotateTest",
    ),
    Guard(
        "the addresses of a name are checked before each connection",
        "events/utils/webhook_client.py",
        "        addresses.check(found, policy)\n",
        "        pass\n",
        f"{_CLIENT}::NameTest",
    ),
    Guard(
        "the checked address is connected to, not the name",
        "events/utils/webhook_client.py",
        "                    str(address),\n                    target.port,\n",
        "                    target.host,\n                    target.port,\n",
        f"{_CLIENT}::NameTest",
    ),
    Guard(
        "the certificate is that of the name",
        "events/utils/webhook_client.py",
        "                    name=target.host,\n",
        "                    name=str(address),\n",
        f"{_CLIENT}::NameTest",
    ),
    Guard(
        "only public addresses",
        _ADDRESSES,
        "        if not (_is_public(address) or _is_allowed(address, policy)):\n",
        "        if False:\n",
        f"{_TESTS}/test_addresses.py",
    ),
    Guard(
        "no address that embeds another one",
        _ADDRESSES,
        "    return address in _OPEN_V6 and not any(address in one for one in _CLOSED_V6)\n",
        "    return not address.is_private\n",
        f"{_TESTS}/test_addresses.py",
    ),
    Guard(
        "no number that some library reads as an address",
        _ADDRESSES,
        "    if _NUMBER.fullmatch(labels[-1]):\n",
        "    if False:\n",
        f"{_TESTS}/test_addresses.py",
    ),
)
