"""How people log in, and how many wrong passwords they have; the same on every machine."""

from datetime import timedelta

# The first one only judges whether a name has to wait; see `wallets.utils.login_limit`.
AUTHENTICATION_BACKENDS = [
    "axes.backends.AxesStandaloneBackend",
    "django.contrib.auth.backends.ModelBackend",
]
# So long a login waits for its turn to have its password hashed.
LOGIN_TURN_SECONDS = 2
AXES_LOCKOUT_PARAMETERS = ["username"]
AXES_FAILURE_LIMIT = 5
AXES_COOLOFF_TIME = timedelta(minutes=5)
AXES_RESET_COOL_OFF_ON_FAILURE_DURING_LOCKOUT = False
AXES_RESET_ON_SUCCESS = True
AXES_WHITELIST_CALLABLE = "wallets.utils.login_limit.is_known_device"
AXES_CLIENT_IP_CALLABLE = "wallets.utils.login_limit.address_of"
AXES_VERBOSE = False
# `wallets.admin` shows what it records, and lets nobody delete it.
AXES_ENABLE_ADMIN = False
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]
