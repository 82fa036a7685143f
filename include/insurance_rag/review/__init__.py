"""Decisions of people about single rows of a dataset and single questions: approve, edit or reject."""
