"""Settings of the REST framework and of the OpenAPI document."""

from wallet.extensions import API_EXTENSION_TAGS

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [],
    "DEFAULT_PERMISSION_CLASSES": [],
    "DEFAULT_PARSER_CLASSES": ["wallets.views.http.body.StrictJSONParser"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_SCHEMA_CLASS": "wallets.views.schema.document.WalletSchema",
    "EXCEPTION_HANDLER": "wallets.views.problems.from_exceptions.handle",
    "UNAUTHENTICATED_USER": None,
    # `?format=` must not choose a renderer.
    "URL_FORMAT_OVERRIDE": None,
}

SPECTACULAR_SETTINGS = {
    "TITLE": "Wallet Service",
    "DESCRIPTION": (
        "Deposits are made at once. Withdrawals are scheduled for a future time and "
        "paid by a bank exactly once. Amounts are integers in the smallest currency "
        "unit. Every refusal is `application/problem+json` (RFC 9457) with a stable "
        "`code`; its `type` is a page. Unknown fields and parameters are refused."
    ),
    "VERSION": "1.0.0",
    "OAS_VERSION": "3.1.0",
    "SERVERS": [{"url": "/", "description": "This server"}],
    "TAGS": [
        {"name": "Wallets", "description": "Create, find, change."},
        {"name": "Money", "description": "Deposit, withdraw, cancel, reschedule."},
        {"name": "Transactions", "description": "Every deposit and every withdrawal."},
        {
            "name": "Statement",
            "description": "A wallet's ledger: movements and balances.",
        },
        *API_EXTENSION_TAGS,
        {"name": "Health", "description": "For supervisors and load balancers."},
    ],
    "SORT_OPERATION_PARAMETERS": False,
    # A PATCH has a serializer of its own, whose fields are all optional.
    "COMPONENT_SPLIT_PATCH": False,
    "POSTPROCESSING_HOOKS": ["wallets.views.schema.document.finish"],
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "SWAGGER_UI_SETTINGS": {
        "deepLinking": True,
        "defaultModelsExpandDepth": 0,
        "displayRequestDuration": True,
        # The default shows a badge of another server.
        "validatorUrl": None,
    },
}
