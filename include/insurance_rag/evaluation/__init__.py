"""Compare the base model and its adapters: answer the same questions, check the answers and compare the rates.

`runner.evaluate` runs the whole stage, `sweep.sweep` compares decoding settings, and `checks.check_answer` checks a
single answer. The packages `metrics` and `checks` are registries. To add a metric or a check, add one file to its
package.
"""
