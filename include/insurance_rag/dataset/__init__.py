"""Dataset: writes training files from validated rows, with distractors and refusals, and the dataset card."""
