"""From one machine to a fleet: pinned identities, sealed envelopes, delivery, revocation lists, witnesses.

Start with `sync.py` (a round of an issuer) and `receive.py` (a round of a node). `envelopes.py` and `cards.py` are the
formats. What is to be sent is recorded by `core/dispatch` in the transaction of the operation that wants it sent.
"""
