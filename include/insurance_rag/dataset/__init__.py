"""Writes validated rows to training files, adding distractors and refusal rows, and writes the dataset card."""
