from __future__ import annotations

import pickle

from insurance_rag.core.errors import InvalidInputError, LineProblem, group_problems


def test_a_problem_that_many_lines_share_is_reported_once_with_their_number() -> None:
    shared = [LineProblem("a.jsonl", line, "unknown field 'answer_pattern'; remove it") for line in range(1, 89)]
    single = LineProblem("a.jsonl", 4, "chunk_id is empty; give each chunk an id")
    other_file = LineProblem("b.jsonl", 9, "unknown field 'answer_pattern'; remove it")
    error = InvalidInputError([*shared, single, other_file, "keys.json: no API keys"])
    assert error.problems == [
        "a.jsonl: 88 lines: unknown field 'answer_pattern'; remove it, first at line 1",
        "a.jsonl:4: chunk_id is empty; give each chunk an id",
        "b.jsonl:9: unknown field 'answer_pattern'; remove it",
        "keys.json: no API keys",
    ]
    assert str(error).startswith("4 problems:\n  - a.jsonl: 88 lines")


def test_one_problem_is_the_whole_message() -> None:
    assert str(InvalidInputError(LineProblem("a", 1, "bad") for _ in range(1))) == "a:1: bad"
    assert group_problems([]) == []


def test_problems_survive_a_process_boundary() -> None:
    error = InvalidInputError([LineProblem("a", 1, "bad"), LineProblem("a", 2, "bad")])
    assert pickle.loads(pickle.dumps(error)).problems == ["a: 2 lines: bad, first at line 1"]
