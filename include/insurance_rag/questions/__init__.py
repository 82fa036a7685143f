"""Make, check, review and freeze evaluation questions for any corpus."""
