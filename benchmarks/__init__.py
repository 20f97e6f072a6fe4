"""`make bench`: the speed and punctuality of the service, as ratios.

Both values of a ratio are measured side by side in one run. docs/performance.md says
what the figures mean.
"""
