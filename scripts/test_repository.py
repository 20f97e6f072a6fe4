"""Files that must agree with each other: pins, make's help, compose, pre-commit."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import unittest
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[1]
REQUIREMENTS = sorted(
    [*ROOT.glob("requirements*.txt"), *ROOT.glob("*/requirements.txt")]
)


def pins(file: Path) -> dict[str, set[str]]:
    """Return each pinned package with its versions (one for each marker)."""
    found: dict[str, set[str]] = {}
    for line in lines(file):
        name, _, version = line.partition("==")
        found.setdefault(name.lower(), set()).add(version.split()[0])
    return found


def lines(file: Path) -> list[str]:
    """Return the pins of a file, without comments and hashes."""
    return [
        line.removesuffix(" \\")
        for line in file.read_text().splitlines()
        if line and not line.lstrip().startswith(("#", "--hash=sha256:"))
    ]


def dependencies_of(groups: dict[str, Any], name: str) -> Iterator[str]:
    """Return the direct dependencies of a group, with those of groups it includes."""
    for dependency in groups[name]:
        if isinstance(dependency, str):
            yield dependency
        else:
            yield from dependencies_of(groups, dependency["include-group"])


def variables_of(text: str) -> set[str]:
    """Return the variables that the tables of docs/configuration.md name."""
    rows = re.findall(r"^\| ((?:`[A-Z_]+`(?:, )?)+) \|", text, re.M)
    return {name for row in rows for name in re.findall(r"[A-Z_]+", row)}


def read_yaml(name: str) -> Any:
    return yaml.safe_load((ROOT / name).read_text())


class RequirementsTest(unittest.TestCase):
    def test_hold_pins_and_nothing_else(self) -> None:
        pin = re.compile(r"[a-z0-9-]+==[0-9][0-9a-z.]*( ; [^;@]+)?$")
        for file in REQUIREMENTS:
            for line in lines(file):
                self.assertRegex(line, pin, file.name)
            self.assertNotIn("://", file.read_text(), file.name)

    def test_of_the_image_are_held_by_hashes_and_have_nothing_to_test_with(
        self,
    ) -> None:
        image = (ROOT / "Dockerfile").read_text()
        used = re.findall(r"-r (requirements[a-z-]*\.txt)", image)
        self.assertIn("requirements-production.txt", used)
        self.assertIn("--require-hashes", image)
        for name in used:
            text = (ROOT / name).read_text()
            for line in lines(ROOT / name):
                self.assertIn(f"{line} \\\n    --hash=sha256:", text, name)
            for package in pins(ROOT / name):
                self.assertNotRegex(
                    package, "^(flask|hypothesis|time-machine)$|pytest|unfold"
                )

    def test_are_used_in_the_image_by_a_user_with_a_number(self) -> None:
        """By a number, who runs the image can tell that it is not root."""
        image = (ROOT / "Dockerfile").read_text()
        self.assertRegex(image, r"\nUSER [1-9]\d*\n")

    def test_pin_every_dependency_of_their_group(self) -> None:
        project = tomllib.loads((ROOT / "pyproject.toml").read_text())
        groups = project["dependency-groups"]
        for group in groups:
            suffix = "" if group == "run" else f"-{group}"
            pinned = pins(ROOT / f"requirements{suffix}.txt")
            for dependency in dependencies_of(groups, group):
                name = re.split(r"[^A-Za-z0-9.-]", dependency)[0]
                self.assertIn(name, pinned, f"run make lock: {group}")

    def test_agree_on_every_package(self) -> None:
        versions: dict[str, dict[str, set[str]]] = {}
        for file in REQUIREMENTS:
            for name, pinned in pins(file).items():
                versions.setdefault(name, {})[str(file.relative_to(ROOT))] = pinned
        for name, files in versions.items():
            # A file may need fewer versions (markers), never another one.
            most = max(files.values(), key=len)
            for pinned in files.values():
                self.assertLessEqual(pinned, most, f"{name}: {files}; run make lock")

    def test_name_the_black_of_the_commit_hook(self) -> None:
        (repository,) = read_yaml(".pre-commit-config.yaml")["repos"]
        black = next(hook for hook in repository["hooks"] if hook["id"] == "black")
        (version,) = pins(ROOT / "requirements-dev.txt")["black"]
        self.assertEqual(black["additional_dependencies"], [f"black=={version}"])


class NpmTest(unittest.TestCase):
    folder = ROOT / "scripts" / "openapi"

    def test_lock_pins_what_is_asked_for_and_names_no_address(self) -> None:
        text = (self.folder / "package-lock.json").read_text()
        self.assertNotIn("://", text)
        packages = json.loads(text)["packages"]
        asked = json.loads((self.folder / "package.json").read_text())
        self.assertTrue(asked["private"])
        for name, version in asked["devDependencies"].items():
            self.assertRegex(version, r"^[0-9]+\.[0-9]+\.[0-9]+$", name)
            self.assertEqual(packages[f"node_modules/{name}"]["version"], version)
        for name, package in packages.items():
            if name:
                self.assertRegex(package["integrity"], "^sha512-", name)

    def test_packages_are_not_committed(self) -> None:
        self.assertIn("node_modules/\n", (ROOT / ".gitignore").read_text())

    def test_is_installed_where_everything_is_required(self) -> None:
        text = (ROOT / ".ci" / "run").read_text()
        self.assertIn("command -v npm >/dev/null || add npm\n", text)
        required, _, check = text.partition("\nexport WALLET_REQUIRE_SERVERS=1\n")
        self.assertNotIn("make check", required)
        self.assertIn("make check", check)


class ContinuousIntegrationTest(unittest.TestCase):
    def test_runs_the_two_lines_of_the_specification_and_the_commands_of_all(
        self,
    ) -> None:
        text = (ROOT / ".ci" / "run").read_text()
        readme = (ROOT / "README.md").read_text()
        for line in ("pip install -r requirements.txt", "manage.py test wallets -v2"):
            self.assertIn(line, readme)
            self.assertIn(line, text)
        self.assertIn('    within_a_minute "$log" "$slower" || verdict=1\n', text)
        for command in ("two_lines", "make test", 'wait "$check"'):
            self.assertIn(f"{command} || verdict=1\n", text)
        self.assertIn("make check >var/check.log 2>&1 &\ncheck=$!\n", text)

    def test_gives_the_fast_tests_a_minute(self) -> None:
        text = (ROOT / ".ci" / "run").read_text()
        (function,) = re.findall(r"^within_a_minute\(\) \{.*?^\}$", text, re.M | re.S)
        for log, work, complaint in (
            ("Ran 9 tests in 59.994s\n\nOK\n", 300, ""),
            ("Ran 9 tests in 60.104s\n\nOK\n", 300, "took 60 s, more than 60 s"),
            ("Ran 1294 tests in 311.2s\n\nOK\n", 400, "took 311 s"),
            ("Ran 1294 tests in 311.2s\n\nOK\n", 401, ""),  # a slow machine
            ("Ran 1 test in 0.1s\n\nOK\n", 900, ""),
            ("no such file: manage.py\n", 900, "does not say"),
        ):
            with self.subTest(log=log, work=work):
                line = f"within_a_minute /dev/stdin {work}"
                done = subprocess.run(
                    ["bash", "-euc", f"{function}\n{line}"],
                    input=log,
                    capture_output=True,
                    text=True,
                )
                self.assertIn(complaint, done.stderr)
                self.assertEqual(done.returncode, int(bool(complaint)))


class MakefileTest(unittest.TestCase):
    def test_helps_with_every_target_and_has_no_file_targets(self) -> None:
        text = (ROOT / "Makefile").read_text()
        targets = set(re.findall(r"^([a-z-]+):", text, re.MULTILINE))
        phony = set(re.findall(r"^\.PHONY: ([a-z-]+)$", text, re.MULTILINE))
        shown = subprocess.run(
            ["make"], cwd=ROOT, capture_output=True, text=True, check=True
        ).stdout
        self.assertEqual(targets, phony)
        self.assertEqual(targets, set(re.findall(r"^  make ([a-z-]+)", shown, re.M)))


class ComposeTest(unittest.TestCase):
    def setUp(self) -> None:
        self.services = read_yaml("docker-compose.yaml")["services"]

    def test_has_its_services_with_their_ports_on_loopback_only(self) -> None:
        published = {name: s.get("ports") for name, s in self.services.items()}
        self.assertEqual(
            published,
            {
                "backend": ["127.0.0.1:${PORT:-8000}:8000"],
                "celery": None,
                "celery-beat": None,
                "events": None,
                "webhooks": None,
                "third-party": ["127.0.0.1:${BANK_PORT:-8010}:8010"],
                "redis": ["127.0.0.1:6379:6379"],
                "db": ["127.0.0.1:3306:3306"],
            },
        )

    def test_waits_until_what_a_service_needs_is_healthy(self) -> None:
        for name, service in self.services.items():
            for needed, how in service.get("depends_on", {}).items():
                self.assertEqual(how, {"condition": "service_healthy"}, name)
                folder = self.services[needed].get("build")
                if "healthcheck" not in self.services[needed]:
                    image = (ROOT / str(folder) / "Dockerfile").read_text()
                    self.assertIn("HEALTHCHECK", image, needed)

    def test_declares_what_the_simulator_can_do_and_nothing_of_another_bank(
        self,
    ) -> None:
        """`test_settings.py` shows that `not true` is false."""
        for name in ("backend", "celery", "celery-beat", "events"):
            environment = self.services[name]["environment"]
            self.assertEqual(
                environment["THIRD_PARTY_BASE_URL"],
                "${THIRD_PARTY_BASE_URL:-http://third-party:8010}",
            )
            for ability in ("DEDUPES", "LOOKUP", "STATEMENT"):
                ability = f"THIRD_PARTY_{ability}"
                self.assertEqual(
                    environment[ability],
                    f"${{{ability}:-${{THIRD_PARTY_BASE_URL:+not }}true}}",
                )

    # What .env does not change, and why.
    OWN = {
        "SERVICE_NAME": "each role has a name of its own",
        "SECRET_KEY_FILE": "the image keeps the key in a volume",
    }

    def test_passes_on_every_documented_variable(self) -> None:
        """A variable that does not reach the containers has no effect and no error."""
        text = (ROOT / "docs" / "configuration.md").read_text()
        service, _, others = text.partition("\n## `docker compose` alone")
        compose, _, others = others.partition("\n## `make run`")
        documented = variables_of(service) - {"SECRET_KEY_FILE"}
        self.assertGreater(len(documented), 40)
        self.assertIn("WITHDRAWALS_PAUSED", documented)
        for name in ("backend", "celery", "celery-beat", "events"):
            environment = self.services[name]["environment"]
            missing = sorted(documented - set(environment))
            self.assertEqual(missing, [], f"docker-compose.yaml: {name}")
            unknown = sorted(set(environment) - documented)
            self.assertEqual(unknown, [], f"docs/configuration.md lacks them ({name})")
            for variable in documented - set(self.OWN):
                value = environment[variable]
                if value is not None:
                    self.assertIn(f"${{{variable}:-", value, "a value of .env is lost")
        source = (ROOT / "docker-compose.yaml").read_text()
        for name in variables_of(compose):
            self.assertIn(f"${{{name}:-", source)
        for name in variables_of(others):
            self.assertIn(f"${{{name}:-", source)
        template = (ROOT / ".env.example").read_text()
        for name in self.OWN:
            self.assertIn(name, template)

    def test_checks_the_health_of_each_role(self) -> None:
        for name, words in (
            ("celery", "inspect ping"),
            ("celery-beat", "wallets.utils.messaging.beat_alive"),
            ("events", "run_events --check"),
            ("redis", "PONG"),
            ("db", "ping"),
        ):
            self.assertIn(words, " ".join(self.services[name]["healthcheck"]["test"]))

    def test_gives_the_broker_and_its_clients_a_password(self) -> None:
        password = "${REDIS_PASSWORD:-only-for-loopback}"
        broker = self.services["redis"]
        self.assertEqual(broker["command"][-2:], ["--requirepass", password])
        self.assertEqual(broker["environment"]["REDISCLI_AUTH"], password)
        for name in ("backend", "celery", "celery-beat", "events"):
            environment = self.services[name]["environment"]
            for variable in ("CELERY_BROKER_URL", "CELERY_RESULT_BACKEND"):
                self.assertIn(f":{password}@redis:", environment[variable])

    def test_names_each_image_to_its_patch(self) -> None:
        named = [s["image"] for s in self.services.values() if "build" not in s]
        for file in (ROOT / "Dockerfile", ROOT / "third-party" / "Dockerfile"):
            named += re.findall(r"^FROM (\S+)", file.read_text(), re.M)
        self.assertEqual(len(named), 4)
        for image in named:
            self.assertRegex(image, r":\d+\.\d+\.\d+|@sha256:")

    def test_leaves_the_defaults_to_the_service(self) -> None:
        """Two lists of defaults would differ sooner or later."""
        environment = self.services["backend"]["environment"]
        handed_on = {name for name, value in environment.items() if value is None}
        self.assertIn("WITHDRAWALS_PAUSED", handed_on)
        self.assertGreater(len(handed_on), 35)

    def test_ends_no_migration_and_begins_no_server_when_it_is_told_to_stop(
        self,
    ) -> None:
        """The shell alone gets the signal; without it a migration would be killed."""
        shell, option, script = self.services["backend"]["command"]
        with tempfile.TemporaryDirectory() as folder:
            told = Path(folder, "told")
            python = Path(folder, "python")
            python.write_text(
                f'#!/bin/sh\necho "$*" >>{told}\ncase "$*" in *migrate*)'
                f" kill -TERM $PPID; sleep 0.2; echo migrated >>{told};; esac\n"
            )
            python.chmod(0o700)
            path = f"{folder}:{os.environ['PATH']}"
            done = subprocess.run([shell, option, script], env={"PATH": path})
            self.assertEqual(
                told.read_text().splitlines(),
                ["manage.py wait_for_db", "manage.py migrate --noinput", "migrated"],
            )
        self.assertEqual(done.returncode, 143)
        self.assertGreater(int(self.services["backend"]["stop_grace_period"][:-1]), 60)

    def test_lets_the_migrations_create_triggers_on_mysql(self) -> None:
        self.assertEqual(self.services["db"]["image"], "${MYSQL_IMAGE:-mysql:8.0.42}")
        self.assertIn(
            "--log-bin-trust-function-creators=1", self.services["db"]["command"]
        )


if __name__ == "__main__":
    unittest.main()
