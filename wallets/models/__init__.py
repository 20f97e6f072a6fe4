"""The models, for Django. In the project, import from the defining module."""

from wallets.models.alarm import Alarm
from wallets.models.attempt import Attempt
from wallets.models.heartbeat import Heartbeat
from wallets.models.ledger import Movement
from wallets.models.pause import Pause
from wallets.models.review_proposal import ReviewProposal
from wallets.models.tally import Tally
from wallets.models.transaction import Transaction
from wallets.models.transition import Transition
from wallets.models.wallet import Wallet

__all__ = [
    "Alarm",
    "Attempt",
    "Heartbeat",
    "Movement",
    "Pause",
    "ReviewProposal",
    "Tally",
    "Transaction",
    "Transition",
    "Wallet",
]
