"""What a key is, where it is stored, and what may be done with it.

Start with `manager.py`: KeyManager has a method for each operation. Beside the packages lie modules that everything
uses: `derivation.py` (each key derivation and its label), `sealing.py`, `secret.py`, `durable.py` (files that survive a
power cut), `names.py`, `instants.py`. Nothing here prints, reads the environment or takes the time by itself, and
nothing reads a model file.
"""
