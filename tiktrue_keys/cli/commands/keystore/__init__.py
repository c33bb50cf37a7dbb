"""Commands about the keystore and this machine."""
