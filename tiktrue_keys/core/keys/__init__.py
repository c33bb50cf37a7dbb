"""The rules about keys inside a transaction: creation, rotation, promotion, revocation and destruction.

Start with `lifecycle.py`, the states of a key and what each one allows. `core/operations` opens the transaction and
asks for the license.
"""
