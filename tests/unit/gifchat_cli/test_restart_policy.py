from itertools import pairwise

from gifchat_cli.restart_policy import MAX_DELAY_S, WINDOW_S, Restart, RestartPolicy


def test_the_delay_grows_with_each_crash() -> None:
    policy = RestartPolicy()
    assert policy.crashed(100.0) == Restart(0.5, crash_loop=False)
    assert policy.crashed(101.0) == Restart(1.0, crash_loop=False)


def test_three_crashes_within_a_minute_are_a_crash_loop() -> None:
    policy = RestartPolicy()
    policy.crashed(0.0)
    policy.crashed(30.0)
    assert policy.crashed(59.9) == Restart(2.0, crash_loop=True)


def test_crashes_older_than_a_minute_do_not_count() -> None:
    policy = RestartPolicy()
    policy.crashed(0.0)
    policy.crashed(30.0)
    assert policy.crashed(WINDOW_S) == Restart(1.0, crash_loop=False)
    assert policy.crashed(500.0) == Restart(0.5, crash_loop=False)


def test_the_delay_in_a_crash_loop_doubles_up_to_its_maximum() -> None:
    policy = RestartPolicy()
    now, delays_s = 0.0, []
    for _ in range(2_000):
        restart = policy.crashed(now)
        delays_s.append(restart.delay_s)
        now += restart.delay_s + 1
    assert delays_s[:8] == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]
    assert all(earlier <= later <= MAX_DELAY_S for earlier, later in pairwise(delays_s))


def test_a_crash_loop_lasts_until_the_process_recovers() -> None:
    policy = RestartPolicy()
    for now in (0.0, 1.0, 2.0):
        policy.crashed(now)
    assert policy.crashed(2.0 + 10 * WINDOW_S) == Restart(4.0, crash_loop=True)
    policy.recovered()
    assert policy.crashed(3.0 + 10 * WINDOW_S) == Restart(0.5, crash_loop=False)
