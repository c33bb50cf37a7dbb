"""Model files: the container format, and every operation on containers and folders of them.

Start with `container/container.py` for what a container is and `file/encrypt.py` for an operation from end to end. The
packages import only those before them: format, storage, pipeline, container, registry, file, folder, settle, serving.
Rules about keys belong to `core`.
"""
