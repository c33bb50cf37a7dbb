"""The read-only checks of `doctor`, one module a subject. A check returns Findings and raises nothing."""
