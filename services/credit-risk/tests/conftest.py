"""Fixtures of the kit: real PostgreSQL, in-process gRPC behind its interceptors."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

pytest_plugins = ["kit.testing"]
