"""Teachers: what generates question-answer pairs from a chunk. One module per kind, registered in `registry`."""
