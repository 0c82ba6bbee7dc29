"""What people and programs outside use: HTTP ingress, HTTP admin, and the command line.

This package stands above `howdah`: it asks the engine, never the database's tables. It decides
nothing that must survive a crash.
"""
