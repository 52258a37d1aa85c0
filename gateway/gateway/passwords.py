"""Passwords: argon2id, at most a few at once, and the same work whether or not the address is known."""

import threading
from functools import lru_cache

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from argon2.low_level import Type

from gateway.config import Settings


class Passwords:
    """Hashes and verifies; a queue forms where more ask than may hash at once, because each takes its memory."""

    def __init__(self, settings: Settings) -> None:
        self._hasher = PasswordHasher(
            time_cost=settings.password_passes,
            memory_cost=settings.password_memory_kib,
            parallelism=1,
            type=Type.ID,
        )
        self._at_once = threading.BoundedSemaphore(settings.password_parallel)
        # Verified against for unknown addresses, so that they take as long as known ones.
        self._nobody = self._hasher.hash("nobody has this password")

    def hash(self, password: str) -> str:
        """The password as it is kept."""
        with self._at_once:
            return self._hasher.hash(password)

    def verify(self, kept: str | None, password: str) -> bool:
        """Whether the password belongs to the kept hash; with None the same work is done, and it does not."""
        with self._at_once:
            try:
                self._hasher.verify(kept or self._nobody, password)
            except (VerificationError, InvalidHashError):
                return False
        return kept is not None

    def is_outdated(self, kept: str) -> bool:
        """Whether a kept hash was made with other parameters than today's."""
        return self._hasher.check_needs_rehash(kept)


@lru_cache(maxsize=8)
def _made(passes: int, memory_kib: int, parallel: int) -> Passwords:
    return Passwords(Settings(password_passes=passes, password_memory_kib=memory_kib, password_parallel=parallel))


def passwords(settings: Settings) -> Passwords:
    """The one of this process for these settings: the limit of parallel work counts for all of it."""
    return _made(settings.password_passes, settings.password_memory_kib, settings.password_parallel)
