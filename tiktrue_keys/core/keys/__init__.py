"""Rules about keys inside a transaction: creation, rotation, promotion, revocation, destruction."""
