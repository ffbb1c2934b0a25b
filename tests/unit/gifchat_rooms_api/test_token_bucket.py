from hypothesis import given
from hypothesis import strategies as st

from gifchat_rooms_api.domain.token_bucket import TokenBucket


def test_a_full_bucket_allows_a_burst_and_then_tells_the_wait() -> None:
    bucket = TokenBucket(3, 100.0)
    for _ in range(3):
        bucket, wait_s = bucket.take(3, 2.0, 100.0)
        assert wait_s == 0.0
    bucket, wait_s = bucket.take(3, 2.0, 100.5)
    assert wait_s == 1.5
    bucket, wait_s = bucket.take(3, 2.0, 100.5 + wait_s)
    assert wait_s == 0.0


def test_a_bucket_never_holds_more_than_its_burst() -> None:
    bucket = TokenBucket(0, 0.0)
    given_out = 0
    for _ in range(10):
        bucket, wait_s = bucket.take(3, 1.0, 1_000_000.0)
        given_out += wait_s == 0.0
    assert given_out == 3


def test_a_clock_that_goes_back_does_not_change_the_bucket() -> None:
    bucket, wait_s = TokenBucket(1, 100.0).take(1, 1.0, 50.0)
    assert wait_s == 0.0
    assert bucket.take(1, 1.0, 50.0)[1] == 1.0


@given(st.integers(1, 5), st.sampled_from([0.25, 1.0, 12.0]), st.lists(st.integers(0, 40), max_size=40))
def test_never_more_tokens_than_burst_and_rate_allow(burst: int, refill_s: float, pauses: list[int]) -> None:
    bucket, now_s, taken = TokenBucket(burst, 0.0), 0.0, 0
    for quarters in pauses:
        now_s += quarters / 4
        bucket, wait_s = bucket.take(burst, refill_s, now_s)
        taken += wait_s == 0.0
        assert 0.0 <= wait_s <= refill_s
        assert taken <= burst + now_s / refill_s + 1e-6
