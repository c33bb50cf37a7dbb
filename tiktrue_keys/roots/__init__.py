"""What may take the host secret's place: a secret that a TPM, a PKCS#11 token or a transit server seals.

Start with `root.py` for what a way has to do, and with `ways.py` for which ways a process may use. Which slots
a keystore has is decided in core/keystore; this package neither reads nor writes a keystore.
"""
