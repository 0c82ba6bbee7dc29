"""The only room that talks to Postgres: connections, the commit lane, wake-ups, the registry."""
