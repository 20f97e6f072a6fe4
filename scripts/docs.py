"""`make docs`: writes the documents that are made from the code. A test compares."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from ops import ROOT, environment
from ops.steps import main


def script() -> int:
    python = environment.install("run")
    if Path(sys.prefix).resolve() != environment.VENV.resolve():
        os.execv(python, [str(python), __file__])  # noqa: S606
    return write()


def write() -> int:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "wallet.settings")
    sys.path.insert(0, str(ROOT))
    import django

    django.setup()
    from wallets.views.schema import files

    (ROOT / "docs/openapi.yaml").write_bytes(files.openapi_yaml())
    text = files.problems_markdown()
    (ROOT / "docs/problems.md").write_text(text, encoding="utf-8")
    print("docs/openapi.yaml and docs/problems.md are written.")
    return 0


if __name__ == "__main__":
    main(script)
