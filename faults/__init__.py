"""Breaks every part under load: real servers, clients that record everything, and a checker that reads only records.

    rows/       the rows of the fault table, one module per component: what breaks, and what must still work
    system/     the cluster under test: nothing restarts by itself, and a proxy stands in front of each store
    clients/    the load: readers, writers and watchers, and what a row asks of them
    judge/      the verdict on a run, from the clients' records and a dump of the database
    run.py      one run of a row with one seed
    results.jsonl, report.py    a summary line per row, and `docs/faults.md` from it

`python -m faults --help` lists the options.
"""
