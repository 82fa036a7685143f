"""Validation: rules for generated rows, the split, and the report. `validate.py` runs all of it.

This module imports nothing, so that the configuration can read the rule names without loading the stage.
"""
