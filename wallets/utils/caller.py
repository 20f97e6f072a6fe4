"""Who calls the API: the actor of what the call changes, and the tenant of its wallets."""

from __future__ import annotations

import re
from dataclasses import dataclass

# The length of the columns of tenants.
MAX_TENANT = 63
# The names of tenants, of keys and of wallets; and what they have, in words.
TENANTS = f"at most {MAX_TENANT} letters, digits, dots, hyphens and underscores"
TENANT = re.compile(rf"[A-Za-z0-9._-]{{1,{MAX_TENANT}}}")


@dataclass(frozen=True, slots=True)
class Caller:
    """The caller of one request.

    `actor` is written into every record of what the call changes. A caller with a
    `tenant` sees and changes the wallets of this tenant only, and creates wallets of it;
    with "" it is not limited. Idempotency keys belong to the tenant.
    """

    actor: str = "client"
    tenant: str = ""


# The caller of an API that asks nobody who it is.
ANYBODY = Caller()
