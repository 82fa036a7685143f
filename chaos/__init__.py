"""Test the pipeline under random faults, and check what it promises (docs/reliability.md).

    python -m chaos --seed 1 --runs 20

A seed determines a scenario: the size of a run, the server's limits, and a schedule of faults. The campaign runs the
real commands against the Gemini simulator, injects the faults, and repeats each command until it ends. A checker then
compares the files on disk with the server's own record.
"""
