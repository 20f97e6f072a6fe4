"""How long the service has been up.

The server's first process imports this module (`wallet.serve`, `gunicorn.conf.py`), so
all processes that it forks have the same beginning. Standard library only.
"""

from wallets.utils import clock

BEGAN = clock.elapsed()


def seconds() -> float:
    """Seconds since the service was started."""
    return clock.elapsed() - BEGAN
