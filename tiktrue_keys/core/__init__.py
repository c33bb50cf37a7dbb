"""Keys: their lifecycle, the keystore that stores them, and the operations on them.

Start with `manager.py`: KeyManager has a method for each operation. Every package uses the modules beside the packages:
`derivation.py` (all key derivations and their labels), `sealing.py`, `secret.py`, `outputs.py` (what no output may
replace), `durable.py` (files that survive a power cut), `names.py` and `instants.py`. Code in this package does not
print, read the environment or read model files, and takes the time that it records from the caller.
"""
