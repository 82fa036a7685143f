"""Benchmarks. Run them from the repository root with `python -m bench.NAME`, e.g. `python -m bench.checks`."""
