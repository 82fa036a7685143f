"""The review pages: people approve, edit or reject single rows of a dataset and single evaluation questions."""
