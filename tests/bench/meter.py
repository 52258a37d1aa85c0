"""What a running platform spends: CPU seconds and memory of each of its processes, PostgreSQL's by database."""

from __future__ import annotations

import json
import threading
import time
from collections import defaultdict
from dataclasses import dataclass, field

import psutil

from stack.harness import Platform

SAMPLE_EVERY_S = 0.2
# Whose CPU is the import's and whose is the readers'; what PostgreSQL does for nobody in particular (writing out, the
# log) is the import's too.
IMPORT_PARTS = ("gateway-web", "import", "ledger", "postgres", "postgres: import", "postgres: ledger")
READERS = ("reporting", "scenario", "credit-risk")


@dataclass
class Spent:
    """Seconds of one piece of work: by the clock, and of CPU by process (PostgreSQL's as "postgres: <database>")."""

    wall_s: float = 0.0
    cpu_s: dict[str, float] = field(default_factory=dict)

    def cpu_of(self, *names: str) -> float:
        """CPU seconds of some processes together."""
        return sum(self.cpu_s.get(name, 0.0) for name in names)

    @property
    def import_cpu_s(self) -> float:
        """CPU seconds of what an import passes through."""
        return self.cpu_of(*IMPORT_PARTS)

    @property
    def reader_cpu_s(self) -> float:
        """CPU seconds of the readers and their databases."""
        return self.cpu_of(*READERS, *(f"postgres: {name.replace('-', '_')}" for name in READERS))


class Meter:
    """Looks at all processes of a platform five times a second, so that those that end are counted too."""

    def __init__(self, platform: Platform) -> None:
        rows = json.loads((platform.home / "run" / "children.json").read_text())
        self._roots = {row["name"]: psutil.Process(row["pid"]) for row in rows}
        names = {url.rsplit("/", 1)[1]: service for service, url in platform.databases().items()}
        self._databases = {database: service.replace("-", "_") for database, service in names.items()}
        self._cpu_s: dict[tuple[int, float], tuple[str, float]] = {}
        self.peak_mb: dict[str, float] = defaultdict(float)
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="meter", daemon=True)

    def __enter__(self) -> Meter:
        self._look()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(SAMPLE_EVERY_S):
            self._look()

    def _look(self) -> None:
        with self._lock:
            for name, root in self._roots.items():
                try:
                    processes = [root, *root.children(recursive=True)]
                except psutil.NoSuchProcess:
                    continue
                # What the nursery has forked stands in the record by itself.
                owned = [one for one in processes if one == root or name != "nursery"]
                for process in owned:
                    try:
                        self._note(name, process)
                    except psutil.NoSuchProcess:
                        continue

    def _note(self, name: str, process: psutil.Process) -> None:
        with process.oneshot():
            times, memory, created = process.cpu_times(), process.memory_info(), process.create_time()
            label = self._label(name, process)
        self._cpu_s[process.pid, created] = (label, times.user + times.system)
        # PostgreSQL's processes share their buffers: what is theirs alone is what counts.
        own_bytes = memory.rss - (memory.shared if name == "postgres" else 0)
        self.peak_mb[label] = max(self.peak_mb[label], own_bytes / 1e6)

    def _label(self, name: str, process: psutil.Process) -> str:
        if name != "postgres":
            return name
        words = set(" ".join(process.cmdline()).split())
        service = next((service for database, service in self._databases.items() if database in words), "")
        return f"postgres: {service}" if service else "postgres"

    def cpu_s(self) -> dict[str, float]:
        """CPU seconds by process so far."""
        self._look()
        found: dict[str, float] = defaultdict(float)
        with self._lock:
            for label, seconds in self._cpu_s.values():
                found[label] += seconds
        return found

    def start(self) -> Stopwatch:
        """Begins to measure a piece of work."""
        return Stopwatch(self)


class Stopwatch:
    """One piece of work that goes on."""

    def __init__(self, meter: Meter) -> None:
        self._meter, self._before, self._started_at = meter, meter.cpu_s(), time.perf_counter()

    def so_far(self) -> Spent:
        """What it has taken until now."""
        took, after = time.perf_counter() - self._started_at, self._meter.cpu_s()
        return Spent(took, {name: seconds - self._before.get(name, 0.0) for name, seconds in after.items()})
