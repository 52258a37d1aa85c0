from kit.migrations import run_env
from portal.store import Base

run_env(Base.metadata)
