"""The limits that the child process sets for itself."""

import resource

_MAX_OPEN_FILES = 32


def limit_resources(memory_bytes: int, cpu_s: int) -> None:
    """Limit memory, CPU time and open files, and forbid writing files."""
    for resource_id, limit in (
        (resource.RLIMIT_AS, memory_bytes),
        (resource.RLIMIT_CPU, cpu_s),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NOFILE, _MAX_OPEN_FILES),
    ):
        resource.setrlimit(resource_id, (limit, limit))
