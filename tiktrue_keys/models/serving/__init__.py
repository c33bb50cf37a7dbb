"""Hands decrypted models to other programs."""
