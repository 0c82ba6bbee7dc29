"""What is measured: howdah's own services, and the same work written for the peers.

The peers' programs run in virtual environments of their own and import nothing from here.
"""
