"""Connects one keystore to a fleet: pinned identities, sealed envelopes, delivery, revocation lists and witnesses.

Start with `sync.py` (a round of an issuer) and `receive.py` (a round of a node). `envelopes.py` and `cards.py` are the
formats. `core/dispatch` queues what is to be sent, in the transaction of the operation that queues it.
"""
