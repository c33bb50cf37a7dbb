"""How interrupted file operations ended, found out by looking at the files.

Start with `interrupted.py`. Every command that writes settles first; recording an intent is
`models/registry/intent.py`.
"""
