"""The ingress port: call, send, attach, output, lookup, awakeables, health.

Requests for handlers take the short way (`app.py`, then `calls.py`): the raw path is split once,
two dictionary look-ups find the handler, and no request object is built. Paths below `/restate/`
that ask about invocations go to `results.py`, and those of awakeables to `awakeables.py`.
"""
