"""All and only what was started is stopped, whatever happens to the one who started it."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from stack.nursery import Nursery
from stack.supervisor import Supervisor, stop_left_behind

PATIENCE_S = 15.0
# A service that has a helper of its own, and tells who both are.
SERVICE = textwrap.dedent("""
    import pathlib, subprocess, sys, time
    helper = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    path = pathlib.Path(sys.argv[1])
    path.with_suffix(".new").write_text(str(helper.pid))
    path.with_suffix(".new").rename(path)
    time.sleep(600)
""")


def until(condition: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end, f"waited {PATIENCE_S} s for: {what}"
        time.sleep(0.02)


def lives(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "run").mkdir()
    (tmp_path / "logs").mkdir()
    return tmp_path


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def supervisor(folder: Path, said: list[str]) -> Iterator[Supervisor]:
    made = Supervisor(folder / "run", folder / "logs", said.append)
    yield made
    made.stop()


def start(supervisor: Supervisor, folder: Path, name: str = "ledger") -> tuple[int, int]:
    told = folder / f"{name}.helper"
    supervisor.start(name, [sys.executable, "-c", SERVICE, str(told)], dict(os.environ))
    until(told.exists, "the helper")
    pid = supervisor.pid(name)
    assert pid is not None
    return pid, int(told.read_text())


def test_stop_ends_the_children_and_their_helpers_and_nobody_else(supervisor: Supervisor, folder: Path) -> None:
    bystander = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    try:
        pid, helper = start(supervisor, folder)
        supervisor.stop()
        until(lambda: not lives(pid) and not lives(helper), "both to end")
        assert bystander.poll() is None
        assert json.loads((folder / "run/children.json").read_text()) == []
    finally:
        bystander.kill()
        bystander.wait()


def test_a_crashed_child_is_started_again_and_its_helper_does_not_stay(
    supervisor: Supervisor, folder: Path, said: list[str]
) -> None:
    pid, helper = start(supervisor, folder)
    os.kill(pid, signal.SIGKILL)
    until(lambda: supervisor.restarts("ledger") == 1 and supervisor.running("ledger"), "the restart")
    until(lambda: not lives(helper), "the helper of the dead one to end")
    assert "killed by signal 9" in said[0]


def test_a_child_that_cannot_start_is_tried_less_and_less_often(supervisor: Supervisor, said: list[str]) -> None:
    supervisor.start("broken", [sys.executable, "-c", "raise SystemExit(3)"], dict(os.environ))
    until(lambda: len(said) >= 2, "two failures")
    assert "ended with code 3; starting it again in 0.5 s" in said[0]
    assert "starting it again in 1 s" in said[1]


def test_what_a_killed_supervisor_left_is_stopped_by_the_next_start(folder: Path, said: list[str]) -> None:
    script = textwrap.dedent(f"""
        import os, sys, time
        from pathlib import Path
        from stack.supervisor import Supervisor
        folder = Path({str(folder)!r})
        made = Supervisor(folder / "run", folder / "logs", print)
        made.start("ledger", [sys.executable, "-c", {SERVICE!r}, str(folder / "ledger.helper")], dict(os.environ))
        time.sleep(600)
    """)
    first = subprocess.Popen([sys.executable, "-c", script])
    until((folder / "ledger.helper").exists, "the first supervisor's child")
    until((folder / "run/children.json").exists, "the record")
    (row,) = json.loads((folder / "run/children.json").read_text())
    helper = int((folder / "ledger.helper").read_text())
    first.kill()
    first.wait()
    assert lives(row["pid"])
    assert lives(helper)
    assert stop_left_behind(folder / "run", said.append) == 2
    assert not lives(row["pid"])
    assert not lives(helper)
    assert stop_left_behind(folder / "run", said.append) == 0


def test_a_process_that_got_the_pid_of_one_of_ours_is_left_alone(folder: Path, said: list[str]) -> None:
    stranger = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    try:
        created = psutil.Process(stranger.pid).create_time()
        row = {"name": "ledger", "pid": stranger.pid, "created": created - 100}
        (folder / "run/children.json").write_text(json.dumps([row]))
        assert stop_left_behind(folder / "run", said.append) == 0
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


FORKED = "import os, sys; print('argument', sys.argv[1], os.environ['WORD']); sys.exit(int(sys.argv[1]))\n"


@pytest.mark.skipif(not Nursery.fits_here(), reason="services are forked on Linux only")
def test_a_forked_module_is_as_good_as_one_of_its_own(
    supervisor: Supervisor, folder: Path, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "forked_service.py").write_text(FORKED)
    (folder / "forked_sleeper.py").write_text("import time\ntime.sleep(600)\n")
    env = {**os.environ, "PYTHONPATH": str(folder), "WORD": "from the environment"}
    supervisor.open_nursery(env)
    supervisor.start_module("forked", "forked_service", ["7"], env)
    until(lambda: any("ended with code 7" in line for line in said), "the exit code")
    assert "argument 7 from the environment" in (folder / "logs/forked.log").read_text()
    supervisor.start_module("sleeper", "forked_sleeper", [], env)
    pid = supervisor.pid("sleeper")
    assert pid is not None
    assert os.getpgid(pid) == pid
    os.kill(pid, signal.SIGKILL)
    until(lambda: supervisor.restarts("sleeper") == 1 and supervisor.running("sleeper"), "the restart")
    supervisor.stop()
    assert psutil.Process().children() == []


@pytest.mark.skipif(not Nursery.fits_here(), reason="services are forked on Linux only")
def test_without_the_nursery_services_still_start_and_stop(
    supervisor: Supervisor, folder: Path, said: list[str]
) -> None:
    (folder / "forked_sleeper.py").write_text("import time\ntime.sleep(600)\n")
    env = {**os.environ, "PYTHONPATH": str(folder)}
    supervisor.open_nursery(env)
    supervisor.start_module("first", "forked_sleeper", [], env)
    first = supervisor.pid("first")
    assert first is not None
    (row,) = [row for row in json.loads((folder / "run/children.json").read_text()) if row["name"] == "nursery"]
    os.kill(row["pid"], signal.SIGKILL)
    until(lambda: not lives(row["pid"]), "the nursery to end")
    supervisor.start_module("second", "forked_sleeper", [], env)
    second = supervisor.pid("second")
    assert second is not None
    assert lives(first)
    assert lives(second)
    supervisor.stop()
    until(lambda: not lives(first) and not lives(second), "both to end")
