"""Where bytes lie: files of this machine and objects in a storage service.

Start with `location.py`. What the bytes mean is not known here.
"""
