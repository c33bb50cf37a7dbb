"""The fleet as the keystore records it: peers, the outbox, revocation lists."""
