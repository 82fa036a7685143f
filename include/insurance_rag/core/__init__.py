"""What every stage shares: records, errors, files, journals, locks, progress and statistics."""
