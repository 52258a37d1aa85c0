"""Token buckets: exact in memory, shared in Redis, and never a reason to stop when Redis is away."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.limits import Limiter, LocalBuckets, Rate
from kit.errors import Code, Refused


@given(st.lists(st.floats(0, 5), max_size=60), st.integers(1, 10), st.floats(0.1, 20))
def test_never_more_than_burst_and_rate_allow(gaps, burst, per_s):
    buckets, rate, now, taken = LocalBuckets(), Rate("t", per_s, burst), 0.0, 0
    for gap in gaps:
        now += gap
        taken += buckets.take("who", rate, now) == 0.0
    assert taken <= burst + per_s * now + 1e-6


def test_waiting_as_long_as_told_is_enough():
    buckets, rate = LocalBuckets(), Rate("t", 2.0, 1)
    assert buckets.take("a", rate, 0.0) == 0.0
    wait_s = buckets.take("a", rate, 0.0)
    assert wait_s == pytest.approx(0.5)
    assert buckets.take("a", rate, wait_s) == 0.0
    assert buckets.take("b", rate, 0.0) == 0.0


def test_replicas_share_a_bucket(valkey, monkeypatch):
    # A busy machine may take longer than production allows.
    monkeypatch.setattr("gateway.limits.REDIS_TIMEOUT_S", 5.0)
    one, two, rate = Limiter(valkey.url), Limiter(valkey.url), Rate("share", 0.01, 4)
    waits = [limiter.wait_s(rate, "who") for limiter in (one, two, one, two, one, two)]
    assert [wait == 0.0 for wait in waits] == [True] * 4 + [False] * 2
    assert 0 < waits[-1] <= 100.1
    with pytest.raises(Refused) as refused:
        one.take(rate, "who")
    assert refused.value.code is Code.RESOURCE_EXHAUSTED
    assert int(refused.value.metadata["retry_after_s"]) >= 1
    assert one.wait_s(rate, "other") == 0.0


def test_without_redis_the_limit_still_holds_here():
    limiter, rate = Limiter("redis://127.0.0.1:9/0"), Rate("away", 0.01, 2)
    assert [limiter.wait_s(rate, "who") == 0.0 for _ in range(4)] == [True, True, False, False]
