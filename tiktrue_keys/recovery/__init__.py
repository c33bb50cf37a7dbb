"""When the machine is gone: an escrow, whose shares recover a keystore on another one. Stands on core."""
