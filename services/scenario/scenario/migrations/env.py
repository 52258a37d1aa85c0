"""Alembic's entry for the scenario service."""

from kit.migrations import run_env
from scenario.store import Base

run_env(Base.metadata)
