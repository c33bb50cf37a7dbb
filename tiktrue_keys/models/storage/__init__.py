"""Storage of bytes: local files, and objects in a storage service.

Start with `location.py` and `protocol.py`. This package knows nothing about the content except the positions of a
container's header and signature.
"""
