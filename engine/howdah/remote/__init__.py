"""Executes handlers of remote deployments: services written with other SDKs, driven over HTTP."""
