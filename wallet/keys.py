"""Settings of keys: who may call the API."""

from wallet import environment

_env = environment.Env()

NOBODY_IS_ASKED, KEYS = "none", "keys"


def _way(text: str) -> str:
    if text not in (NOBODY_IS_ASKED, KEYS):
        raise ValueError
    return text


environment.EXPECTED[_way] = (
    "none (everybody may call the API) or keys (each request needs a key)"
)

# The specification asks for no authentication. See `access/`.
API_AUTH = _env("API_AUTH", _way, NOBODY_IS_ASKED)
ACCESS_ENABLED = API_AUTH == KEYS
# The requests in a minute, of each process, that a key may make, unless it says more.
API_KEY_RATE = environment.count("API_KEY_RATE", 6000)
