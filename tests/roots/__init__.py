"""Ways of sealing a secret: a TPM, a PKCS#11 token, a transit server."""
