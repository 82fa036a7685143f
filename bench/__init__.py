"""Benchmarks. Each module is a command: `python -m bench.NAME`, in the root of the repository."""
