"""Where bytes lie: files of this machine and objects in a storage service.

Start with `location.py` and `protocol.py`. Of what the bytes mean, only the place of a container's header and signature
is known here.
"""
