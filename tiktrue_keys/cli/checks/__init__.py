"""The read-only checks of `doctor`, one module for each subject.

Start with `check.py`: a check returns rows and raises nothing. What a check looks at is read by the packages
below; what is done about a row belongs to the command that its hint names.
"""
