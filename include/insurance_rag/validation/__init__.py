"""Validation of generated rows: the rules, the split, and the report. `validate.py` runs the whole stage.

This file imports nothing, so that the configuration can read the rule names without importing the whole stage.
"""
