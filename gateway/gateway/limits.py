"""How fast one caller may go: a token bucket in Redis, and in this process's memory while Redis does not answer."""

import logging
import math
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass

import redis

from kit.errors import Code, Refused

log = logging.getLogger(__name__)

# Waiting longer than this for a limit would cost the caller more than the limit protects.
REDIS_TIMEOUT_S = 0.1
# After a failure Redis is left alone for so long.
REDIS_PAUSE_S = 5.0
LOCAL_BUCKETS_MAX = 20_000

# KEYS bucket; ARGV rate per second, burst, cost. Gives {1, 0} or {0, milliseconds to wait}. Redis's own clock counts.
_TAKE = """
local rate, burst, cost = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local clock = redis.call('TIME')
local now = tonumber(clock[1]) + tonumber(clock[2]) / 1000000
local kept = redis.call('HMGET', KEYS[1], 'tokens', 'at')
local tokens = tonumber(kept[1]) or burst
tokens = math.min(burst, tokens + math.max(0, now - (tonumber(kept[2]) or now)) * rate)
if tokens < cost then return {0, math.ceil((cost - tokens) / rate * 1000)} end
redis.call('HSET', KEYS[1], 'tokens', tostring(tokens - cost), 'at', tostring(now))
redis.call('PEXPIRE', KEYS[1], math.ceil(burst / rate * 1000) + 1000)
return {1, 0}
"""


@dataclass(frozen=True)
class Rate:
    """A bucket that holds `burst` calls and fills by `per_s`."""

    name: str
    per_s: float
    burst: int


class LocalBuckets:
    """Buckets in memory: exact for one process, and what is left when Redis is gone."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, key: str, rate: Rate, now: float | None = None) -> float:
        """Takes one call out of a bucket; 0 when it had one, else the seconds until it will."""
        now = time.monotonic() if now is None else now
        with self._lock:
            tokens, at = self._buckets.get(key, (float(rate.burst), now))
            tokens = min(float(rate.burst), tokens + max(0.0, now - at) * rate.per_s)
            taken = tokens >= 1.0
            self._buckets[key] = (tokens - 1.0 if taken else tokens, now)
            self._buckets.move_to_end(key)
            while len(self._buckets) > LOCAL_BUCKETS_MAX:
                self._buckets.popitem(last=False)
        return 0.0 if taken else (1.0 - tokens) / rate.per_s


class Limiter:
    """Takes calls out of buckets that all replicas share; never stops work because Redis is away."""

    def __init__(self, redis_url: str) -> None:
        self._local = LocalBuckets()
        self._paused_until = 0.0
        self._redis: redis.Redis | None = None
        if redis_url:
            self._redis = redis.Redis.from_url(
                redis_url, socket_timeout=REDIS_TIMEOUT_S, socket_connect_timeout=REDIS_TIMEOUT_S
            )
            self._script = self._redis.register_script(_TAKE)

    def wait_s(self, rate: Rate, who: str) -> float:
        """0 when the call may go on now, else the seconds to wait."""
        key = f"quittance:rate:{rate.name}:{who}"
        if self._redis is not None and time.monotonic() >= self._paused_until:
            try:
                allowed, wait_ms = self._script(keys=[key], args=[rate.per_s, rate.burst, 1])
                return 0.0 if allowed else max(int(wait_ms), 1) / 1000
            except redis.RedisError as error:
                self._paused_until = time.monotonic() + REDIS_PAUSE_S
                log.warning("rate limits are counted here for %g s: %s", REDIS_PAUSE_S, error)
        return self._local.take(key, rate)

    def take(self, rate: Rate, who: str) -> None:
        """Takes a call. Refuses RESOURCE_EXHAUSTED RATE_LIMITED with retry_after_s."""
        wait_s = self.wait_s(rate, who)
        if wait_s > 0:
            seconds = max(math.ceil(wait_s), 1)
            raise Refused(
                Code.RESOURCE_EXHAUSTED,
                "RATE_LIMITED",
                f"too many calls: try again in {seconds} s",
                retry_after_s=str(seconds),
            )
