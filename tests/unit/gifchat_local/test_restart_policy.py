from gifchat_local.restart_policy import WINDOW_S, GiveUp, Restart, RestartPolicy


def test_a_first_crash_is_followed_by_a_quick_restart_and_a_second_by_a_slower_one() -> None:
    policy = RestartPolicy()
    assert policy.crashed(100.0) == Restart(0.5)
    assert policy.crashed(101.0) == Restart(1.0)


def test_three_crashes_within_a_minute_are_too_many() -> None:
    policy = RestartPolicy()
    policy.crashed(0.0)
    policy.crashed(30.0)
    assert policy.crashed(59.9) == GiveUp(3)


def test_crashes_that_are_a_minute_old_are_forgotten() -> None:
    policy = RestartPolicy()
    policy.crashed(0.0)
    policy.crashed(30.0)
    assert policy.crashed(WINDOW_S) == Restart(1.0)
    assert policy.crashed(500.0) == Restart(0.5)
