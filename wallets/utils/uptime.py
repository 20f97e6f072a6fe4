"""How long this service has been up: what has not happened yet may still be to come.

The server's first process imports this (`wallet.serve`, `gunicorn.conf.py`); those that it
forks, now or later, know the same beginning. Standard library only.
"""

from wallets.utils import clock

BEGAN = clock.elapsed()


def seconds() -> float:
    """Seconds since the service was started."""
    return clock.elapsed() - BEGAN
