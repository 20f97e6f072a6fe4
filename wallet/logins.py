"""Settings of logins and of the limit on wrong passwords."""

from datetime import timedelta

# The first one only checks whether a name must wait; see `wallets.utils.login_limit`.
AUTHENTICATION_BACKENDS = [
    "axes.backends.AxesStandaloneBackend",
    "django.contrib.auth.backends.ModelBackend",
]
# How long a login waits for its turn to hash the password, in seconds.
LOGIN_TURN_SECONDS = 2
AXES_LOCKOUT_PARAMETERS = ["username"]
AXES_FAILURE_LIMIT = 5
AXES_COOLOFF_TIME = timedelta(minutes=5)
AXES_RESET_COOL_OFF_ON_FAILURE_DURING_LOCKOUT = False
AXES_RESET_ON_SUCCESS = True
AXES_WHITELIST_CALLABLE = "wallets.utils.login_limit.is_known_device"
AXES_CLIENT_IP_CALLABLE = "wallets.utils.login_limit.address_of"
AXES_VERBOSE = False
# `wallets.admin` shows these records without a way to delete them.
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
