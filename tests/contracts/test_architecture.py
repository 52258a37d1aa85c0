"""Imports go the way architecture decides, files are where everybody looks for them, and the style is one."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from stack.layout import SERVICES

BIN = Path(sys.executable).parent
README_HEADINGS = ("What it owns", "Contracts", "Processes", "Settings", "How it works", "Tests")
FILES = ("__main__", "config", "domain", "store", "usecases", "rpc")


def run(*command: str | Path, cwd: Path) -> None:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, (done.stdout + done.stderr)[-6000:]


def folder_of(root: Path, service: str) -> Path:
    return root / "gateway" if service == "gateway" else root / "services" / service


def imported(folder: Path) -> Iterator[tuple[Path, str]]:
    """Every module that the files below a folder import, as far as the text says."""
    files = sorted(folder.rglob("*.py"))
    assert files, folder
    for path in files:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Import):
                yield from ((path, alias.name) for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
                yield from ((path, f"{node.module}.{alias.name}") for alias in node.names)


def test_import_rules(root: Path) -> None:
    run(BIN / "lint-imports", "--no-cache", cwd=root)


def test_style(root: Path) -> None:
    run(BIN / "ruff", "check", "--output-format=concise", ".", cwd=root)
    run(BIN / "ruff", "format", "--check", ".", cwd=root)


@pytest.mark.parametrize("library", ["kit", "ui"])
def test_the_libraries_know_no_message_but_the_common_ones(root: Path, library: str) -> None:
    known = {name for _, name in imported(root / "libs" / library / library) if name.startswith("quittance.")}
    assert {name for name in known if not name.startswith("quittance.common.")} == set()


@pytest.mark.parametrize("service", [name for name in SERVICES if name != "gateway"])
def test_a_service_has_the_files_of_every_service(root: Path, service: str) -> None:
    package = folder_of(root, service) / SERVICES[service]
    for name in FILES:
        assert (package / f"{name}.py").is_file() or (package / name / "__init__.py").is_file(), f"{package}/{name}"
    assert (package / "migrations" / "env.py").is_file()
    assert list((package / "migrations" / "versions").glob("*.py"))


def test_no_file_is_empty(root: Path) -> None:
    for folder in (root / "libs/kit", root / "libs/ui", root / "libs/stack", root / "services", root / "gateway"):
        for path in folder.rglob("*.py"):
            if path.parts[-2:] == ("tests", "__init__.py"):
                continue  # The mark of a package whose tests share helpers; there is nothing to say in it.
            assert path.read_text("utf-8").strip(), f"{path} is empty"


@pytest.mark.parametrize("service", list(SERVICES))
def test_readmes_have_the_same_headings(root: Path, service: str) -> None:
    lines = (folder_of(root, service) / "README.md").read_text("utf-8").splitlines()
    headings = [line.lstrip("# ").strip() for line in lines if line.startswith("## ")]
    assert [heading for heading in headings if heading in README_HEADINGS] == list(README_HEADINGS)


@pytest.mark.parametrize("service", list(SERVICES))
def test_sql_is_in_store_only(root: Path, service: str) -> None:
    """SQLAlchemy's statements are made in store, migrations and nowhere else."""
    package = folder_of(root, service) / SERVICES[service]
    makers = {"sqlalchemy.select", "sqlalchemy.insert", "sqlalchemy.update", "sqlalchemy.delete", "sqlalchemy.text"}
    for path, name in imported(package):
        parts = path.relative_to(package).parts
        if parts[0].removesuffix(".py") not in ("store", "migrations") and name in makers:
            pytest.fail(f"{path.relative_to(root)} imports {name}; SQL belongs into store.py")
