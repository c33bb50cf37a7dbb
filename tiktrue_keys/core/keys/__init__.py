"""Rules about keys inside a transaction: creation, rotation, promotion, revocation, destruction.

Start with `lifecycle.py`, the states of a key and what each allows. What opens the transaction and asks for the license
is in `core/operations`.
"""
