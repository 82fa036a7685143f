"""The validation rules. `registry.py` defines the registry, and each other file registers the rules on one subject."""
