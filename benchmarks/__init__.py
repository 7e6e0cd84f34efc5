"""What the gate costs and how fast a revocation arrives, beside what others do, on this machine and in one run.

``python -m benchmarks`` prints one table. Figures of a shared machine are only good as ratios within one run, so whatever is
compared is run in turns (A B A B) and each pair gives one ratio; what is printed is the median. Nothing here gates.
"""
