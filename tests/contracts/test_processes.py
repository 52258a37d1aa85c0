"""What one part says another hears: every job has a worker, every handler a producer, every event its tests."""

import ast
import importlib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from google.protobuf import descriptor_pool

from kit.service import ServiceDefinition
from stack.layout import SERVICES

PACKAGES = [package for name, package in SERVICES.items() if name != "gateway"]


def module(package: str, name: str) -> ModuleType | None:
    """A module of a service; None when the service does not have that file."""
    if importlib.util.find_spec(f"{package}.{name}") is None:
        return None
    return importlib.import_module(f"{package}.{name}")


def definition(package: str) -> ServiceDefinition:
    main = module(package, "__main__")
    assert main is not None, f"{package} has no __main__.py"
    found = [value for value in vars(main).values() if isinstance(value, ServiceDefinition)]
    assert len(found) == 1, f"{package}.__main__ holds {len(found)} definitions of the service"
    return found[0]


def sources(root: Path, package: str) -> Iterator[tuple[Path, ast.Module]]:
    folder = Path(next(iter(importlib.import_module(package).__path__)))
    for path in sorted(folder.rglob("*.py")):
        yield path, ast.parse(path.read_text("utf-8"))


def called_name(node: ast.Call) -> str:
    return node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")


@pytest.mark.parametrize("package", PACKAGES)
def test_the_process_is_wired_with_the_tables_of_its_files(package: str) -> None:
    made = definition(package)
    tasks, consumers = module(package, "tasks"), module(package, "consumers")
    assert dict(made.jobs) == dict(getattr(tasks, "JOBS", {}))
    assert dict(made.schedules) == dict(getattr(tasks, "SCHEDULES", {}))
    assert dict(made.handlers) == dict(getattr(consumers, "HANDLERS", {}))
    assert made.servicers, f"{package} serves nothing"


@pytest.mark.parametrize("package", PACKAGES)
def test_every_job_that_is_asked_for_has_a_worker(root: Path, package: str) -> None:
    jobs = set(definition(package).jobs)
    asked: set[str] = set()
    for _, tree in sources(root, package):
        constants = {
            target.id: node.value.value
            for node in ast.walk(tree)
            if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
            for target in node.targets
            if isinstance(target, ast.Name)
        }
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and called_name(node) == "enqueue" and len(node.args) > 1:
                kind = node.args[1]
                value = kind.value if isinstance(kind, ast.Constant) else constants.get(getattr(kind, "id", ""))
                if isinstance(value, str):
                    asked.add(value)
    assert asked <= jobs, f"nobody works on {sorted(asked - jobs)}"
    assert all(callable(handler) for handler in definition(package).jobs.values())


@pytest.mark.parametrize("package", PACKAGES)
def test_every_handler_hears_an_event_that_somebody_says(root: Path, package: str) -> None:
    pool = descriptor_pool.Default()
    for producer, event in definition(package).handlers:
        assert producer in SERVICES, f"{package} listens to {producer}, which does not exist"
        importlib.import_module(f"quittance.{SERVICES[producer]}.v1.{_events_module(producer)}")
        pool.FindMessageTypeByName(event)
        name = event.rpartition(".")[2]
        said = any(
            isinstance(node, ast.Attribute | ast.Name) and name in (getattr(node, "attr", ""), getattr(node, "id", ""))
            for _, tree in sources(root, SERVICES[producer])
            for node in ast.walk(tree)
        )
        assert said, f"{package} waits for {event}, and {producer} never says it"


def _events_module(producer: str) -> str:
    return {"import": "import_events_pb2"}.get(producer, f"{producer.replace('-', '_')}_events_pb2")


def marked_events(root: Path, service: str) -> set[str]:
    """Events named by the marker doubled_and_late in a service's tests."""
    found: set[str] = set()
    for path in sorted((root / "services" / service / "tests").rglob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and called_name(node) == "doubled_and_late":
                values = [*node.args, *(word.value for word in node.keywords)]
                found |= {value.value for value in values if isinstance(value, ast.Constant)}
    return found


@pytest.mark.parametrize("service", [name for name in SERVICES if name != "gateway"])
def test_every_event_is_tested_doubled_and_late(root: Path, service: str) -> None:
    """@pytest.mark.doubled_and_late("quittance.ledger.v1.AccountsChanged") on the test that proves it."""
    handled = {event for _, event in definition(SERVICES[service]).handlers}
    assert handled - marked_events(root, service) == set()
