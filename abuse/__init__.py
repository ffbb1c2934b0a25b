"""Attacks by one client, and how much the other users notice.

- `attacks`: one module per attack.
- `attack`, `attacker`, `quarter_core`: what an attack is, and the process that runs it with a quarter of a core.
- `pairs`, `newcomers`, `gateways`: the normal users and the gateways that are watched meanwhile.
- `run`: one attack on a running cluster.
- `results`, `report`: `results.jsonl` (one line per attack) and the page `docs/abuse.md`.
"""
