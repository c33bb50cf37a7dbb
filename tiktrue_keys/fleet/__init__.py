"""From one machine to a fleet: pinned identities, sealed envelopes, delivery, revocation lists, witnesses."""
