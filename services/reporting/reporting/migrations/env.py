"""Alembic's entry for the reporting service."""

from kit.migrations import run_env
from reporting.store import Base

run_env(Base.metadata)
