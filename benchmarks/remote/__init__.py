"""Measures howdah as the runtime of SDKs for Restate, beside the server that they were made for.

Run `python -m benchmarks.remote` (or `make bench-peers`) from the root of a checkout. The same
endpoint, written with an SDK, is driven by howdah and by restate-server, by turns. What is needed
comes from PyPI and npm on first use, into folders of its own below `benchmarks/`.
"""
