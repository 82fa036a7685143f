"""Teachers, which generate question-answer pairs from chunks. Each kind of teacher has one module (see `registry`)."""
