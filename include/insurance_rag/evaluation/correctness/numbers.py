"""Numbers: an answer must state every required quantity with its unit and bound, and no contradicting one."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from insurance_rag.core.records import CorrectnessProblem
from insurance_rag.evaluation.correctness.content import f_score
from insurance_rag.evaluation.correctness.expected import Expected
from insurance_rag.evaluation.correctness.stance import SHARED_AXES, Stance, main_text, stance, stance_of
from insurance_rag.korean import quantities, remove_whitespace, unsupported_quantities
from insurance_rag.korean.bounds import LOWER, UPPER, Bound
from insurance_rag.korean.morphemes import morphemes
from insurance_rag.korean.predicates import predicates
from insurance_rag.korean.statements import Statement, analyze

Key = tuple[float, str]
MIN_SAME_STATEMENT = 0.5
"""Two statements are about the same fact if their lemmas have at least this F-score."""
MAX_OTHER_NUMBERS = 2
"""Most numbers with the unit of a required number that an answer may state next to it. Of all numbers, twice as many
are allowed. Chosen on the part `tuning` of the labeled answers, and so that an answer that lists all numbers of a chunk
is wrong."""
_BOUND_WORDS = frozenset(
    ["지나", "넘", "넘기", "초과", "이내", "경과", "이", "이상", "이하", "미만", "범위", "한도", "안", "동안", "미치"]
)
"""Predicates and nouns that are part of a bound."""
_CONDITION = re.compile(r".{0,4}?(?:지나|넘으|초과하|이내(?:이)?|이하(?:이)?|경과하)면")
_EXCEEDS = re.compile(r".{0,3}?(?:초과|미만|넘는|이상|이하|못\s?미치)")
STRICT = re.compile("초과|미만")
_EXAMPLE = re.compile(r"예를\s?들|예컨대|가령|이를테면|예시로")
"""The quantities after one of these words belong to an example."""
_YEAR = re.compile(r"(?:19|20)\d\d\s?년")
_COUNTS = frozenset(["회", "명", "건"])
_ASSUMED = re.compile(r"[^,.]{0,12}?면")
"""Follows a number that an example assumes: 두 번 받으시면 120만원."""
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
            yield CorrectnessProblem(kind="missing_number", text=number)


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
    missing = unsupported_quantities(answer, *contexts, question=expected.question)
    assumed = {q.value for q in missing if q.unit in _COUNTS and _ASSUMED.match(answer, q.end)}
    for quantity in [q for q in missing if not _YEAR.match(q.text)]:
        value, unit = _percent(quantity.key)
        derived = {(times * own, own_unit) for times in assumed for own, own_unit in known} | {
            (v, "회") for v in assumed
        }
        complement = unit == "%" and (100 - value, unit) in known
        example = complement or (value, unit) in derived or _EXAMPLE.search(answer, 0, quantity.start) is not None
        same_kind = unit in units if units else True
        if same_kind and not example and (value != 1 or unit == "%") and (value, unit) not in known:
            yield CorrectnessProblem(kind="contradicting_number", text=quantity.text)


def find_replaced_numbers(answer: str, expected: Expected) -> Iterator[CorrectnessProblem]:
    """Yield a problem if the answer changes a number of a statement of the reference, or limits a benefit.

    The numbers of the reference that are not required need not be in the answer, but it must not state other ones
    instead.
    """
    reference = expected.reference or ""
    known = {q.key for text in (reference, expected.question) for q in quantities(text)}
    stated = {q.key for q in quantities(answer)}
    for statement in analyze(main_text(answer)):
        for quantity in statement.quantities:
            value, unit = quantity.key
            if quantity.key in known or value == 1 or _EXAMPLE.search(answer):
                continue
            only = re.search(rf"{re.escape(quantity.quantity.text)}만\s", answer) and unit in ("%", "원")
            if only and not any(unit == own for _, own in known):
                yield CorrectnessProblem(kind="contradicting_number", text=f"{quantity.quantity.text}만")
                return
            for own in analyze(reference):
                lost = [q for q in own.quantities if q.key[1] == unit and q.key not in stated]
                if lost and f_score(own.lemmas, statement.lemmas) >= MIN_SAME_STATEMENT:
                    text = f"{quantity.quantity.text} ≠ {lost[0].quantity.text}"
                    yield CorrectnessProblem(kind="contradicting_number", text=text)
                    return


def find_listed_numbers(answer: str, expected: Expected) -> Iterator[CorrectnessProblem]:
    """Yield a problem if the answer lists numbers of the required kind and leaves it to the reader to choose.

    Numbers of examples, and those that the question or the reference has, do not count.
    """
    required = {_percent(q.key) for number in expected.required_numbers for q in quantities(number)}
    units = {unit for _, unit in required}
    known = {_percent(q.key) for text in (expected.reference or "", expected.question) for q in quantities(text)}
    example = _EXAMPLE.search(answer)
    stated = {_percent(q.key) for q in quantities(answer[: example.start()] if example else answer)}
    others = {key for key in stated - known - required if key[0] != 1}
    same_kind = sum(unit in units for _, unit in others)
    if same_kind > MAX_OTHER_NUMBERS or len(others) > 2 * MAX_OTHER_NUMBERS:
        yield CorrectnessProblem(kind="focus", text=f"{same_kind} + {len(others) - same_kind}")


class Limit(NamedTuple):
    """The bound of a quantity, with the words around it."""

    bound: Bound
    denied: bool
    """Whether the predicate that the bound belongs to is denied: in `30일이 지나면 철회할 수 없다`, 철회 is."""
    stance: Stance | None
    """Stance of the whole statement."""
    is_case: bool
    """Whether the predicate of the statement is a word such as 해당 or 대상, which only says that a case is meant."""
    words: str
    after: str
    """The words after the quantity."""

    @property
    def direction(self) -> int:
        """+1 for a minimum and -1 for a maximum."""
        return 1 if self.bound in LOWER else -1


def find_wrong_bounds(answer: str, expected: Expected) -> Iterator[CorrectnessProblem]:
    """Yield a problem for each quantity of the reference that the answer states with a contradicting bound.

    A denied bound counts as the opposite one: `30일이 지나면 철회할 수 없다` is a maximum.
    """
    reference = expected.reference or ""
    said, right = _limits(answer), _limits(reference)
    caps = {q.key for q in quantities(reference)} if _CAP.search(reference) else set[Key]()
    for key in sorted((caps - right.keys()) & said.keys()):
        if said[key][0].direction > 0 and not said[key][0].denied:
            yield CorrectnessProblem(kind="bound", text=said[key][0].words)
    exact = {q.key for q in quantities(reference)} - right.keys() - caps
    for key in sorted(exact & said.keys()):
        if _EXCEEDS.match(said[key][0].after):
            yield CorrectnessProblem(kind="bound", text=said[key][0].words)
    for key, limits in right.items():
        if key in said and all(_contradict(said[key][0], wanted) for wanted in limits):
            text = f"{said[key][0].words} ≠ {limits[0].words}"
            yield CorrectnessProblem(kind="bound", text=text)


def _contradict(found: Limit, wanted: Limit) -> bool:
    if found.direction != wanted.direction:
        return found.denied == wanted.denied
    if found.bound != wanted.bound and STRICT.search(found.words + wanted.words):
        return True
    if found.stance is None or wanted.stance is None or found.stance.axis not in SHARED_AXES or found.is_case:
        return False
    return found.stance == Stance(wanted.stance.axis, -wanted.stance.sign) and found.denied != wanted.denied


def _limits(text: str) -> dict[Key, list[Limit]]:
    """Return the bounds of each quantity in a text that has any, in order."""
    found: dict[Key, list[Limit]] = {}
    for statement in analyze(text):
        for quantity in statement.quantities if not _COUNTERFACTUAL.search(statement.text) else ():
            at = statement.text.find(quantity.quantity.text)
            end = at + len(quantity.quantity.text)
            words = statement.text[at : end + 12]
            if (quantity.bound in LOWER or quantity.bound in UPPER) and not _CONCESSIVE.search(words):
                denied = _is_denied(statement.text, end) and not _NEGATION.search(words)
                found.setdefault(quantity.key, []).append(
                    Limit(quantity.bound, denied, stance(statement), _is_case(statement), words, words[end - at :]),
                )
    return found


def _is_case(statement: Statement) -> bool:
    return statement.predicate is not None and statement.predicate.lemma in ("해당", "대상", "경우", "속하", "들어가")


def _is_denied(clause: str, end: int) -> bool:
    """Return whether the predicate after position `end`, to which a bound belongs, is denied."""
    tokens = morphemes(clause)
    following = [p for p in predicates(tokens) if p.start < len(tokens) and tokens[p.start].start >= end]
    if _CONDITION.match(clause, end):
        following = following[-1:]
    governing = next((p for p in following if p.lemma not in _BOUND_WORDS), None)
    if governing is None:
        return bool(following) and following[-1].negated
    own = stance_of(governing)
    return own is not None and own.sign < 0 and own.axis not in ("charge", "cut")
