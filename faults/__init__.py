"""Breaks every part under load: real servers, clients that record everything, and a checker that judges the records.

    rows/       the rows of the fault table, one module per component: what breaks, and what must still work
    system/     the cluster under test: nothing restarts by itself, and proxies stand in front of the stores
    clients/    the load: readers, writers and watchers, and the checks and measurements that rows share
    judge/      the verdict on a run, from the clients' records and a dump of the database
    run.py      one run of a row with one seed
    results.jsonl, report.py    one summary line per row, and the code that writes `docs/faults.md` from them

`python -m faults --help` lists the options.
"""
