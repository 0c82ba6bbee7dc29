"""Queries over the admin port: SQL as Restate's clients write it, answered from Postgres.

A query is read into a tree (`tokens.py`, `parser.py`, `tree.py`), and what Postgres executes is
written anew from that tree (`translate.py`, `operators.py`, `functions.py`): text of a client never reaches the
database. What the grammar does not have, what is no table of `catalog.py` and what is no function
of `functions.py` is refused. `howdah.store.asking` executes, read-only and within bounds.
"""
