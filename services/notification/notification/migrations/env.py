from kit.migrations import run_env
from notification.store import Base

run_env(Base.metadata)
