"""Results as JSON members, and as tables, trees and lines for people.

Start with `outcome.py`, the values that a command returns, and `render.py`, which draws them. Nothing here calls the
packages below.
"""
