"""Readers that were written from man/tiktrue-keys-format.5 alone. They import nothing of tiktrue_keys, on purpose."""
