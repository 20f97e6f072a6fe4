"""The models, for Django. In the project, import from the defining module."""

from wallets.models.alarm import Alarm
from wallets.models.attempt import Attempt
from wallets.models.correction import Correction
from wallets.models.heartbeat import Heartbeat
from wallets.models.ledger import Movement
from wallets.models.pause import Pause
from wallets.models.payment_return import PaymentReturn
from wallets.models.review_proposal import ReviewProposal
from wallets.models.tally import Tally
from wallets.models.transaction import Transaction
from wallets.models.transfer import Transfer
from wallets.models.transition import Transition
from wallets.models.wallet import Wallet
from wallets.models.wallet_change import WalletChange

__all__ = [
    "Alarm",
    "Attempt",
    "Correction",
    "Heartbeat",
    "Movement",
    "Pause",
    "PaymentReturn",
    "ReviewProposal",
    "Tally",
    "Transaction",
    "Transfer",
    "Transition",
    "Wallet",
    "WalletChange",
]
