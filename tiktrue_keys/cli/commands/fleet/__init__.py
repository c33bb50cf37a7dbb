"""The commands of issuers and nodes: identities, cards, sending, receiving, status.

Start with `fleet_sync.py`, one round of an issuer. The rounds themselves are in the package `fleet`.
"""
