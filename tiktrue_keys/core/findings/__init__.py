"""Findings: what is not as it should be with a keystore, from rules over what it holds and the time.

Start with `finding.py` for what a finding is, with `standing.py` for what the rules look at, and with `rules.py` for
all of them. The rules are pure; core/operations/keystore_status.py gathers what they look at.
"""
