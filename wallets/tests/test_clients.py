"""Clients of well-known generators work.

Each client is generated from docs/openapi.yaml and type-checked. Then a program of
`wallets.tests.clients` uses it to call a running service.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path
from unittest import SkipTest, skipUnless

from django.conf import settings
from django.db import connection
from django.test import LiveServerTestCase

from wallets.tests import marks
from wallets.tests.base import CommittingTestCase

DOCUMENT = Path(settings.BASE_DIR) / "docs" / "openapi.yaml"
WALKS = Path(__file__).with_name("clients")
NODE_MODULES = Path(settings.BASE_DIR) / "scripts" / "openapi" / "node_modules"
SECONDS = 300
COMPILER = {
    "strict": True,
    "target": "es2022",
    "module": "nodenext",
    "moduleResolution": "nodenext",
    "skipLibCheck": True,
    "types": ["node"],
    "outDir": "compiled",
}


@skipUnless(connection.vendor == "sqlite", "no database changes a client")
class ClientTestCase(CommittingTestCase, LiveServerTestCase):
    """A folder for generated clients, and the service behind a real address."""

    def setUp(self) -> None:
        super().setUp()
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def skip(self, why: str) -> None:
        """Skip a test whose tools are missing; fail if everything is required."""
        if os.environ.get("WALLET_REQUIRE_SERVERS") == "1":
            self.fail(why)
        raise SkipTest(why)

    def run_it(self, *command: str | Path, **env: str) -> str:
        """Run a command in the folder; return its output."""
        done = subprocess.run(
            [str(part) for part in command],
            cwd=self.folder,
            env=os.environ | env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=SECONDS,
            text=True,
        )
        self.assertEqual(done.returncode, 0, done.stdout)
        return done.stdout


@marks.slow
@marks.timeout(2 * SECONDS)
class PythonClientTest(ClientTestCase):
    def require(self, module: str) -> None:
        if find_spec(module) is None:
            self.skip(f"{module} is not installed (requirements-clients.txt)")

    def walk(self, name: str) -> None:
        walk = shutil.copy(WALKS / name, self.folder)
        said = self.run_it(sys.executable, walk, self.live_server_url)
        self.assertEqual(said, "")

    def test_of_openapi_python_client_walks(self) -> None:
        self.require("openapi_python_client")
        folder = self.folder / "wallet_client"
        said = self.run_it(
            *(sys.executable, "-m", "openapi_python_client", "generate"),
            *("--path", DOCUMENT, "--output-path", folder),
            *("--meta", "none", "--fail-on-warning"),
            PATH=f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        )
        self.assertNotIn("WARNING", said.upper())
        self.walk("openapi_python_client_walk.py")

    def test_of_datamodel_codegen_walks_and_numbers_nothing(self) -> None:
        self.require("datamodel_code_generator")
        client = self.folder / "wallet_client.py"
        self.run_it(
            *(sys.executable, "-m", "datamodel_code_generator"),
            *("--input", DOCUMENT, "--input-file-type", "openapi"),
            *("--openapi-scopes", "schemas", "paths", "parameters"),
            *("--output", client, "--output-model-type", "pydantic_v2.BaseModel"),
        )
        classes = re.findall(r"^class (\w+)", client.read_text(), re.M)
        self.assertGreater(len(classes), 15)
        self.assertEqual([name for name in classes if re.search(r"\d", name)], [])
        self.walk("datamodel_codegen_walk.py")


@marks.slow
@marks.timeout(2 * SECONDS)
class TypeScriptClientTest(ClientTestCase):
    def setUp(self) -> None:
        super().setUp()
        if not (NODE_MODULES / ".installed").exists():
            self.skip("npm's tools are not installed (`make check` does, where npm is)")
        (self.folder / "node_modules").symlink_to(NODE_MODULES)
        config = {"compilerOptions": COMPILER, "include": ["*.ts", "wallet-client"]}
        (self.folder / "tsconfig.json").write_text(json.dumps(config))

    def tool(self, name: str) -> Path:
        return NODE_MODULES / ".bin" / name

    def walk(self, name: str) -> None:
        """Compile the program with the client, in strict mode, and run it."""
        shutil.copy(WALKS / f"{name}.ts", self.folder)
        self.run_it(self.tool("tsc"))
        said = self.run_it("node", f"compiled/{name}.js", self.live_server_url)
        self.assertEqual(said, "done\n")

    def test_of_openapi_typescript_walks(self) -> None:
        self.run_it(
            self.tool("openapi-typescript"), DOCUMENT, "-o", "wallet-client.d.ts"
        )
        self.walk("openapi-typescript-walk")

    def test_of_hey_api_walks(self) -> None:
        client = ("-o", "wallet-client", "-c", "@hey-api/client-fetch")
        self.run_it(self.tool("openapi-ts"), "-i", DOCUMENT, *client)
        self.walk("hey-api-walk")

    def test_of_orval_walks(self) -> None:
        output = {
            "target": "wallet-client.ts",
            "client": "fetch",
            "baseUrl": self.live_server_url,
            "headers": True,
        }
        config = {"wallet": {"input": str(DOCUMENT), "output": output}}
        text = f"module.exports = {json.dumps(config)}"
        (self.folder / "orval.config.cjs").write_text(text)
        self.run_it(self.tool("orval"), "--config", "orval.config.cjs")
        self.walk("orval-walk")
