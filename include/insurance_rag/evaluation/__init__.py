"""Compare the base model and its adapters on the same questions: answers, checks with evidence, paired statistics.

`runner.evaluate` is the whole stage, `sweep.sweep` compares decoding settings, `checks.check_answer` checks a single
answer. `metrics` and `checks` are registries: a new metric or check is one new file there.
"""
