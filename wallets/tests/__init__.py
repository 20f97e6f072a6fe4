"""The test suite.

`manage.py test wallets.tests.WalletServiceTest` names a class without its module. So
this package searches its modules for a name, but only when the name is requested:
discovery must not run a test twice.
"""

import importlib
import pkgutil


def __getattr__(name: str) -> object:
    if name.endswith("Test"):
        for module in pkgutil.iter_modules(__path__):
            if module.name.startswith("test_"):
                found = importlib.import_module(f"{__name__}.{module.name}")
                if name in vars(found):
                    return vars(found)[name]
    raise AttributeError(f"no test class {name!r} in {__name__}")
