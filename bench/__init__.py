"""The benchmark: Ingot beside what its users would otherwise take, measured so that the numbers survive a sceptic.

`./dev bench` runs it (docs/benchmarking.md says what is measured and how). A run is a file of JSON lines that only grows, so that whatever cut it, the
same command goes on where it stopped. What needs PyTorch is imported where it is used: reading results, tables, the page and tests need python3 and numpy.
"""
