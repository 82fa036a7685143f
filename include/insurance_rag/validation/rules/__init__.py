"""The validation rules: `registry.py`, and one file per subject that registers its rules."""
