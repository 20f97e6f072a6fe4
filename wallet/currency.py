"""Settings of wallets."""

from wallet.environment import Env

# The currency (ISO 4217) of wallets that are created without one. A wallet keeps its
# currency for ever. The migration that adds currencies gives existing wallets this one.
DEFAULT_CURRENCY = Env().str("DEFAULT_CURRENCY", default="IRR")
