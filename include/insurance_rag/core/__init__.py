"""Code that all stages share: records, errors, files, journals, locks, progress and statistics."""
