"""Numbers: an answer must state every required quantity with its unit and bound, and no contradicting one."""

from __future__ import annotations

import re
from collections.abc import Iterator

from insurance_rag.core.records import CorrectnessProblem
from insurance_rag.evaluation.correctness.expected import Expected
from insurance_rag.evaluation.correctness.stance import denies
from insurance_rag.korean import quantities, remove_whitespace, unsupported_quantities
from insurance_rag.korean.bounds import LOWER, UPPER, Bound
from insurance_rag.korean.statements import analyze

Key = tuple[float, str]
STRICT = re.compile("초과|미만")
_EXAMPLE = re.compile(r"예를\s?들|예컨대|가령|이를테면|예시로")
"""The quantities after one of these words belong to an example."""
_COUNTERFACTUAL = re.compile("[았었였]다면|텐데")
_NEGATION = re.compile(r"(?:넘|초과|지나|미치|이르|보다).{0,6}(?:않|못)|이?\s안\s?(?:되|된|됐)")
_CONCESSIVE = re.compile(r"더라도|라도|어도|아도|여도")
_CAP = re.compile("한도|(?<!납입)최고|최대|상한")


def find_missing_numbers(answer: str, expected: Expected) -> Iterator[CorrectnessProblem]:
    """Yield a problem for each required number that the answer does not state.

    Equal quantities may be written in different ways: 3천만원 and 30,000,000원, or 120% and 1.2배.
    """
    stated = {_percent(quantity.key) for quantity in quantities(answer)}
    stated |= {(value, "일") for value, unit in stated if unit == "일째"}
    if "영업일" in answer:  # 영업일 기준 스물다섯 날
        stated |= {(value, "영업일") for value, unit in stated if unit == "일"}
    for number in expected.required_numbers:
        required = {_percent(quantity.key) for quantity in quantities(number)}
        if not (required <= stated if required else remove_whitespace(number) in remove_whitespace(answer)):
            yield CorrectnessProblem(kind="missing_number", text=f"{number} is missing")


def _percent(key: Key) -> Key:
    """Express a multiple as a percentage: 1.2배 is 120 %."""
    return (round(100 * key[0], 6), "%") if key[1] == "배" else key


def find_contradicting_numbers(answer: str, expected: Expected) -> Iterator[CorrectnessProblem]:
    """Yield a problem for each quantity of the answer that nothing supports.

    The question, the reference and the gold chunks support a quantity, and so does a calculation from their quantities.
    """
    reference = expected.reference or ""
    units = {_percent(q.key)[1] for text in (reference, *expected.required_numbers) for q in quantities(text)}
    known = {_percent(q.key) for q in quantities(reference)}
    contexts = (reference, *expected.required_numbers, *expected.gold_texts, expected.context)
    for quantity in unsupported_quantities(answer, *contexts, question=expected.question):
        value, unit = _percent(quantity.key)
        example = _EXAMPLE.search(answer, 0, quantity.start) is not None
        same_kind = unit in units if units else True
        if same_kind and value != 1 and (value, unit) not in known and not example:
            yield CorrectnessProblem(kind="contradicting_number", text=f"{quantity.text} is in no gold chunk")


def find_wrong_bounds(answer: str, expected: Expected) -> Iterator[CorrectnessProblem]:
    """Yield a problem for each quantity of the reference that the answer states with a contradicting bound.

    A denied bound counts as the opposite one: `30일이 지나면 철회할 수 없다` is an upper bound.
    """
    said = _directions(answer)
    reference = expected.reference or ""
    right = _directions(reference)
    caps = {q.key for q in quantities(reference)} if _CAP.search(reference) else set[Key]()
    for key in (caps - right.keys()) & said.keys():
        if said[key][0] > 0:
            yield CorrectnessProblem(kind="bound", text=f"{said[key][2]!r}; the reference states a maximum")
    for key, (wanted, bound, text) in right.items():
        if key not in said:
            continue
        found, other, words = said[key]
        strict = {bound, other} in ({"at_least", "more_than"}, {"at_most", "less_than"}) and STRICT.search(words + text)
        if found * wanted < 0 or strict:
            yield CorrectnessProblem(kind="bound", text=f"{words!r} contradicts {text!r}")


def _directions(text: str) -> dict[Key, tuple[int, Bound, str]]:
    """Return, for each quantity with a bound, +1 for a minimum or -1 for a maximum, the bound and the words."""
    found: dict[Key, tuple[int, Bound, str]] = {}
    for statement in analyze(text):
        if _COUNTERFACTUAL.search(statement.text):
            continue
        for quantity in statement.quantities:
            direction = 1 if quantity.bound in LOWER else -1 if quantity.bound in UPPER else 0
            if direction:
                at = statement.text.find(quantity.quantity.text)
                words = statement.text[at : at + len(quantity.quantity.text) + 12]
                if _CONCESSIVE.search(words):
                    continue
                denied = denies(statement) and not _NEGATION.search(words)
                found.setdefault(quantity.key, (-direction if denied else direction, quantity.bound, words))
    return found
