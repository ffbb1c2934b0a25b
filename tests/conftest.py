"""Fixtures for all levels of tests: real servers, started when a test first asks for one."""

pytest_plugins = ["gifchat_testkit.servers", "gifchat_testkit.cluster"]
