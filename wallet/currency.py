"""Settings of wallets and of the bank: currencies."""

from wallet.environment import Env

# The currency (ISO 4217) of wallets that are created without one. A wallet keeps its
# currency for ever. The migration that adds currencies gives existing wallets this one.
DEFAULT_CURRENCY = Env().str("DEFAULT_CURRENCY", default="IRR")
# The currency that the bank pays: its requests name none. "*": it, or a gateway, knows
# the currency by the wallet.
THIRD_PARTY_CURRENCY = Env().str("THIRD_PARTY_CURRENCY", default=DEFAULT_CURRENCY)
