"""The house itself: locks name no registry, docs and commands agree, every process can be found."""

import json
import re
import subprocess
import tomllib
from pathlib import Path

import pytest

from stack.layout import PORTS, SERVICES

HASHED = re.compile(r"^([A-Za-z0-9._-]+)(\[[^\]]+\])?==\S+.*\\$")


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", re.split(r"[\[<>=!~; ]", name, maxsplit=1)[0]).lower()


def targets(root: Path) -> dict[str, str]:
    """Targets of the Makefile with their help line."""
    lines = (root / "Makefile").read_text("utf-8").splitlines()
    found = (re.match(r"^([a-z-]+):[^=]*?(?:## (.*))?$", line) for line in lines)
    return {match[1]: match[2] or "" for match in found if match}


def test_lock_has_hashes_and_names_no_registry(root: Path) -> None:
    text = (root / "requirements.lock").read_text("utf-8")
    assert not re.search(r"https?://|file://|--index|--find-links", text)
    packages = [line for line in text.splitlines() if line and line[0].isalnum()]
    assert len(packages) > 50
    assert [line for line in packages if not HASHED.match(line)] == []


def test_lock_holds_what_every_member_asks_for(root: Path) -> None:
    locked = {canonical(line) for line in (root / "requirements.lock").read_text("utf-8").splitlines() if "==" in line}
    members = [path for path in root.glob("*/*/pyproject.toml") if path.parts[-3] in ("libs", "services")]
    members.append(root / "gateway/pyproject.toml")
    assert len(members) == 13
    own = {canonical(tomllib.loads(path.read_text("utf-8"))["project"]["name"]) for path in members}
    for path in members:
        asked = {canonical(name) for name in tomllib.loads(path.read_text("utf-8"))["project"]["dependencies"]}
        assert asked - own - locked == set(), f"{path.relative_to(root)}: run make lock"


def test_front_end_lock_names_no_registry(root: Path) -> None:
    lock = json.loads((root / "package-lock.json").read_text("utf-8"))
    wanted = json.loads((root / "package.json").read_text("utf-8"))
    for name, package in lock["packages"].items():
        assert "resolved" not in package, name
        assert not name or package["integrity"], name
    for name, version in (wanted["dependencies"] | wanted["devDependencies"]).items():
        assert re.fullmatch(r"\d+\.\d+\.\d+", version), f"{name} is not pinned"
        assert lock["packages"][f"node_modules/{name}"]["version"] == version


def test_every_target_has_a_line_of_help(root: Path) -> None:
    done = subprocess.run(["make", "help"], cwd=root, capture_output=True, text=True, check=True)
    listed = {line.split()[0] for line in done.stdout.splitlines() if line.strip()}
    phony = re.search(r"^\.PHONY: (.*?)(?<!\\)$", (root / "Makefile").read_text("utf-8"), re.MULTILINE | re.DOTALL)
    assert phony
    assert listed == set(phony[1].replace("\\", " ").split())


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md"])
def test_commands_in_the_docs_exist(root: Path, name: str) -> None:
    text = (root / name).read_text("utf-8")
    said = set(re.findall(r"(?:`|^\s*\$? ?)make ([a-z][a-z-]*)", text, re.MULTILINE))
    assert said, f"{name} names no command"
    assert said - set(targets(root)) == set()


def test_the_readme_names_the_two_commands_and_the_ports(root: Path) -> None:
    text = (root / "README.md").read_text("utf-8")
    for word in ("make up", "make test", "8080", "8081", "QUITTANCE_PORT", "QUITTANCE_TODAY"):
        assert word in text, word


def test_continuous_integration_runs_what_people_run(root: Path) -> None:
    script = (root / ".ci/run").read_text("utf-8")
    assert "make test" in script
    assert (root / ".ci/run").stat().st_mode & 0o111


def test_every_service_has_a_process_and_a_port(root: Path) -> None:
    lines = [line.split(": ", 1) for line in (root / "Procfile").read_text("utf-8").splitlines() if line]
    assert dict(lines) == {name: f"python -m {package} run" for name, package in SERVICES.items()}
    assert {f"grpc-{name}" for name in SERVICES} <= set(PORTS)
    members = {path.parent.name for path in root.glob("services/*/pyproject.toml")}
    assert members == set(SERVICES) - {"gateway"}
