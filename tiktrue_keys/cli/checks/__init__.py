"""The read-only checks of `doctor`, one module for each subject.

Start with `finding.py`: a check returns findings and raises nothing. What a check looks at is read by the packages
below; what is done about a finding belongs to the command that its hint names.
"""
