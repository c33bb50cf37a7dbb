"""What a key is, where it lives and what may be done with it. Prints nothing, reads no environment, asks nobody."""
