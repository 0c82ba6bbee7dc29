"""Measures howdah beside its peers: one command, one table, one JSON file.

Run `python -m benchmarks` (or `make bench`) from the root of a checkout. Everything runs on this
machine: Postgres, the load generator, the server. Each figure is what a user would see from
outside; nothing here reaches into the engine to make a figure better.
"""
