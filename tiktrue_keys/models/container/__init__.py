"""One container as it lies in storage: its parts, its data key, its plaintext."""
