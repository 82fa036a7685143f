"""Teachers, which generate question-answer pairs from chunks. Each kind has one module and is listed in `registry`."""
