"""The fleet as the keystore records it: peers, the outbox and revocation lists.

Start with `outbox.py`. Envelopes, transports and the order of a round belong to the package `fleet`.
"""
