"""How fast and how punctual the service is, as ratios taken side by side in one run.

`make bench`. What the figures mean stands in docs/performance.md.
"""
