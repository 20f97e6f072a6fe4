"""Guards of payments that the bank has returned; see `drills.guard`."""

from __future__ import annotations

from drills.guard import Guard

_SERVICE = "wallets/services/operations/payment_return.py"
_AUDIT = "wallets/services/ledger/return_audit.py"
_TESTS = "test_payment_return.py::RecordReturnTest"
_VERIFY = "test_payment_return.py::VerifyTest"

RETURN_GUARDS = (
    Guard(
        "a payment is returned once",
        _SERVICE,
        "    if (made.return_reference, made.amount) == (told.return_reference, told.amount):\n",
        "    if made.amount == told.amount:\n",
        _TESTS,
    ),
    Guard(
        "a record that is told again makes no second return",
        _SERVICE,
        "    made = of_withdrawal(transaction_id)\n",
        "    made = None\n",
        _TESTS,
    ),
    Guard(
        "no more is returned than was paid",
        _SERVICE,
        "    if told.amount > paid.amount:\n",
        "    if False:\n",
        _TESTS,
    ),
    Guard(
        "only what the bank has paid is returned",
        _SERVICE,
        "    if withdrawal.status != Transaction.Status.COMPLETED:\n",
        "    if False:\n",
        _TESTS,
    ),
    Guard(
        "a return is of the movement that took the money",
        _SERVICE,
        "    paid = withdrawal.movements.filter(kind=Movement.Kind.SETTLE).first()\n",
        "    paid = withdrawal.movements.first()\n",
        _TESTS,
    ),
    Guard(
        "a closed wallet gets no return",
        _SERVICE,
        "        postings.check_open(wallet)\n",
        "        pass\n",
        _TESTS,
    ),
    Guard(
        "the return of what was not paid is found",
        _AUDIT,
        '        ("return_of_paid", ~paid,',
        '        ("return_of_paid", paid & ~paid,',
        _VERIFY,
    ),
    Guard(
        "a return without its money is found",
        _AUDIT,
        "            ~given,\n",
        "            given & ~given,\n",
        _VERIFY,
    ),
    Guard(
        "money of no return is found",
        _AUDIT,
        '        yield Finding("transaction_return",',
        '        Finding("transaction_return",',
        _VERIFY,
    ),
    Guard(
        "an event of a return names its withdrawal",
        "events/services/content.py",
        '            "transaction": one.withdrawal_id,\n',
        '            "transaction": one.credit_id,\n',
        "events/tests/test_sequencer.py::SequencerTest",
    ),
)
