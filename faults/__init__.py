"""Faults under load: real parts as child processes, clients that log everything, a checker that reads only logs.

    cluster.FaultCluster   the system without automatic restarts; signals, restarts, proxies in front of the stores
    proxy.TcpProxy         delay, stall, cut, refuse, drop after N bytes
    load.Load              rooms, readers, writers and watchers that write records
    records                what they write, one JSON object a line
    checker.judge          a verdict from the records and a dump of the database
    rows.Row               one row of the fault table; rows are in `faults/rows/`
    run.run_fault          one run of a row with one seed

`python -m faults --help` runs rows with many seeds and writes `docs/faults.md`.
"""
