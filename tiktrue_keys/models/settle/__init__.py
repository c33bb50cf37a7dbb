"""Finds out from the files how interrupted operations ended, and records it.

Start with `interrupted.py`. Every command that writes settles first; recording an intent is
`models/registry/intent.py`.
"""
