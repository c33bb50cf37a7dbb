"""Model files: the container format, and every operation on containers and folders of them.

Start with `container/container.py` for the parts of a container, or `file/encrypt.py` for one operation from end to
end. Each package imports only those before it: format, storage, pipeline, container, registry, file, folder, settle,
serving. Rules about keys belong to `core`.
"""
