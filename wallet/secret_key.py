"""The generated key that signs cursors and sessions, when SECRET_KEY is not set.

It is generated once and kept in a file. A key in the code would be public.
"""

from __future__ import annotations

import os
import secrets
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

from django.core.exceptions import ImproperlyConfigured

from wallet.environment import Env

# Earlier keys, comma separated: what they have signed is still valid.
SECRET_KEY_FALLBACKS = Env().list("SECRET_KEY_FALLBACKS", default=[])


def beside(database: dict[str, Any], base_dir: Path) -> str:
    """Return the default file of the key: beside SQLite's file, or in `var`."""
    if database["ENGINE"].endswith("sqlite3"):
        return str(Path(database["NAME"]).with_name("secret-key"))
    return str(base_dir / "var" / "secret-key")


def made_key(file: str | Path) -> str:
    """Return the key in the file; create both at the first start.

    Processes that start at the same moment get the same key. Only the user who created
    the file may read it.

    :raises ImproperlyConfigured: the file can be neither read nor created.
    """
    path = Path(file)
    try:
        if not path.exists():
            _make(path)
        key = path.read_text(encoding="ascii").strip()
    except OSError as error:
        raise ImproperlyConfigured(
            f"SECRET_KEY is not set, and no key can be kept in {path} "
            f"({type(error).__name__}): set SECRET_KEY to a long random value, or "
            "SECRET_KEY_FILE to a file that can be made."
        ) from error
    if len(key) < 50:
        raise ImproperlyConfigured(
            f"{path} holds no key: delete it, and a new one is made; or set SECRET_KEY."
        )
    return key


def _make(path: Path) -> None:
    """Create the file completely or not at all; an existing file is kept."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(secrets.token_urlsafe(64))
        with suppress(FileExistsError):
            os.link(name, path)
    finally:
        os.unlink(name)
