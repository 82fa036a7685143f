"""Decides whether the quantities of an answer are stated in its context, or can be calculated from what is stated."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence, Set
from itertools import combinations

from insurance_rag.korean.bounds import bound_of
from insurance_rag.korean.equations import right_equations, without_elapsed
from insurance_rag.korean.quantities import Quantity, quantities

Key = tuple[float, str]
"""Value and normalized unit of a quantity."""

MAX_OPERANDS = 12
"""Maximum number of stated quantities that are tried as operands. Every pair and every sum of three is tried."""
MAX_PAIRS = 12
"""Maximum number of pairs of one context's quantities that are combined."""
MAX_SENTENCE = 1000
"""Only this many characters before a quantity are searched for the beginning of its sentence."""
MAX_KNOWN = 60
"""Maximum number of quantities of the context that are tried as the second operand."""

# Words for a period that are not a number with a unit: 연 2회 is the same as 1년에 두 번.
_PERIODS: tuple[tuple[re.Pattern[str], Key], ...] = (
    (
        re.compile(r"(?<![가-힣])연(?=\s?\d|\s?[가-힣]{1,3}\s?[회번차%])|연간|매년|해마다|연도마다|한\s?해"),
        (12.0, "개월"),
    ),
    (re.compile(r"매월|매달|월\s?(?=\d)|다달이|월납"), (1.0, "개월")),
    (re.compile(r"매일|날마다|1일당"), (1.0, "일")),
    (re.compile(r"전액|전부"), (100.0, "%")),
    (re.compile(r"반액|(?<![가-힣])반(?:만|을)(?![가-힣])"), (50.0, "%")),
    (re.compile(r"자정"), (24.0, "시")),
)
_SAME: dict[Key, tuple[Key, ...]] = {
    (24.0, "시"): ((12.0, "시"), (0.0, "시")),
    (12.0, "시"): ((24.0, "시"),),
}
# Units by which an amount of money, or any other quantity, can be multiplied.
_FACTORS = frozenset(["%", "배", "회"])
_AMOUNT_FACTORS = _FACTORS | {"일", "개월", "시간", "명", "건", "km"}
# Length of each period in days.
_DAYS = {"일": 1.0, "일째": 1.0, "개월": 30.0}
_WORKING_DAYS = re.compile(r"영업일|쉬는\s?날|휴일|평일|주말|공휴일")
_ADDS = re.compile(r"합|더[한하해]|\+")
_MONTH = re.compile(r"월\s?$")
FIRST_YEAR = 1900
"""A number of years from this on is a date."""
_ALL = re.compile(r"전액|전부|모두|온전|그대로|다\s")
_FROM = re.compile(r"\s?(?:부터|이?면|이상)")
_HALF = re.compile(r"\s?반")
_ABOUT = re.compile(r"\s?(?:쯤|가량|정도|남짓|즈음)")
_ABOUT_BEFORE = re.compile(r"(?:약|대략|거의)\s?$")
# One of something, as in `수술 1회당` or `한 번마다`. The context may say `수술할 때마다` instead.
_EACH = re.compile(r"\s?(?:당|마다|에\s|씩|전|뒤|후)|\s?(?:만|에\s?한)")
_WITHIN = re.compile(r"\s?(?:안|이내|만|이상|동안|까지)")
_EACH_UNITS = frozenset(["회", "명", "건", "일"])
# A quantity in an example, which the answer may choose freely.
_EXAMPLE = re.compile(r"예를\s?들|예컨대|예로|가령|이를테면")
# A point in time that the answer assumes: `30일째에 난 사고라면`. A bound such as `30일 이내라면` states a condition.
_ASSUMED = re.compile(r"(?:째)?(?:에|이|만에|되는|된|을|를)?\s?[^,.]{0,20}[다라]면")
# A condition in which the answer may choose a quantity if it then calculates with it.
_CONDITION = re.compile(r"[다라]면|이면|[으하]면|경우|동안|때")


def known_quantities(text: str) -> set[Key]:
    """Return the keys of all quantities in the text, including periods such as 연 and shares such as 전액.

    >>> sorted(known_quantities("연 2회 한도로 전액"))
    [(1.0, '배'), (2.0, '회'), (12.0, '개월'), (100.0, '%')]
    """
    keys = {_key(quantity) for quantity in quantities(text)}
    keys |= {key for pattern, key in _PERIODS if pattern.search(text)}
    for key in list(keys):
        keys.update(_SAME.get(key, ()))
        if key[1] == "시간" and key[0] % 24 == 0:
            keys.add((key[0] / 24, "일"))
        elif key[1] == "일":
            keys.add((key[0] * 24, "시간"))
        if key[1] == "%":
            keys.add((_tidy(key[0] / 100), "배"))
        elif key[1] == "배" and key[0] != int(key[0]):
            keys.add((_tidy(key[0] * 100), "%"))
    return keys


def unsupported_quantities(
    answer: str, *contexts: str, question: str = "", allow_rounding: bool = True
) -> list[Quantity]:
    """Return the quantities in the answer that neither a context nor the question states.

    Quantities that can be calculated are left out. For example, 500만원 in `1,000만원의 50%인 500만원` is supported if
    a context states 1,000만원 and 50%. An answer may choose numbers for an example: `예를 들어 500만원이라면 250만원`.
    With `allow_rounding`, it may round a period, such as 석 달 for 90일.

    >>> [quantity.text for quantity in unsupported_quantities("90일 이후 1천만원", "보험금은 1,000만원입니다.")]
    ['90일']
    """
    stated = quantities(answer)
    if not stated:
        return []
    known = set[Key]().union(*(known_quantities(context) for context in contexts))
    given = known_quantities(question) if question else set()
    if question:
        known |= set[Key]().union(*(_within(context, answer) for context in contexts))
    if _WORKING_DAYS.search(answer):  # 영업일 기준 스물다섯 날
        known |= {(value, "일") for value, unit in known if unit == "영업일"}
    stated = _without_results(answer, stated, known | given)
    stated = [q for q in stated if q.unit != "번째" and not is_each(answer, q) and not _is_trivial(answer, q, known)]
    given |= {_key(q) for q in stated if is_example(answer, q)}
    missing = unsupported(stated, known, given)
    if allow_rounding:
        missing = [q for q in missing if not _is_approximate(answer, q, known)]
    chosen: set[Key] = set()
    for quantity in [q for q in missing if _is_hypothetical(answer, q)]:
        if quantity in unsupported(stated, known, given | chosen):
            chosen.add(_key(quantity))
    left = unsupported(stated, known, given | chosen) if chosen else missing
    left = left if _is_used(chosen, stated, known | given) else missing
    return without_elapsed(answer, left, known)


def _without_results(answer: str, stated: list[Quantity], known: Set[Key]) -> list[Quantity]:
    """Leave out the results of calculations that the answer writes out, if they are right and use a known quantity."""
    results = {equation.result for equation in right_equations(answer)}
    if not results or not any(_key(q) in known for q in stated):
        return stated
    return [q for q in stated if q not in results]


def _is_used(chosen: Set[Key], stated: Sequence[Quantity], known: Set[Key]) -> bool:
    """Return whether the answer calculates with a number that it chose for an example."""
    keys = {_key(quantity) for quantity in stated}
    results = [(result, number) for result in keys for number in chosen if result != number]
    return any(_product(result, number, other) for result, number in results for other in known | keys)


def _within(context: str, answer: str) -> set[Key]:
    """Return what follows from two quantities of one context: a share of an amount, and sums if the answer adds up.

    This is for answers to a question such as `가입 8개월 만의 사고면 얼마인가요?`, which may state only the result.
    A share is only taken of amounts of money. A context with many quantities is left out, because some result would
    equal almost any number.
    """
    keys = {quantity.key for quantity in quantities(context)}
    amounts = [value for value, unit in keys if unit == "원"]
    shares = [value for value, unit in keys if unit == "%"]
    found: set[Key] = set()
    if len(amounts) * len(shares) <= MAX_PAIRS:
        found |= {(_tidy(amount * share / 100), "원") for amount in amounts for share in shares}
    if _ADDS.search(answer) and len(amounts) <= MAX_PAIRS:
        found |= {(_tidy(a + b), "원") for a, b in combinations(amounts, 2)}
    return found


def unsupported(stated: Iterable[Quantity], known: Set[Key], given: Collection[Key] = ()) -> list[Quantity]:
    """Return the stated quantities that are not supported.

    A quantity is supported if its key is in `known` or `given`, or if it can be calculated. `known` holds the keys of
    the context, and `given` those of the question. Operands are the quantities of the question, the supported
    quantities that the answer states before the result, and, as the second operand, the quantities of the context.
    Unlike `unsupported_quantities`, this function takes parsed quantities.
    """
    missing: list[Quantity] = []
    context = sorted(known)[:MAX_KNOWN]
    derived = _differences(given, context)
    derived |= _ages(given, context) | _counts(given, context)
    operands: list[Key] = sorted(given)[: MAX_OPERANDS // 2]
    own: list[Key] = list(operands)
    for quantity in stated:
        key = _key(quantity)
        if key in known or key in given or key in derived or _is_calculated(key, own, context, derived):
            if key not in own and len(own) < MAX_OPERANDS:
                own.append(key)
        else:
            missing.append(quantity)
    return missing


def _differences(given: Collection[Key], context: Collection[Key]) -> set[Key]:
    """Return what lies between a quantity of the question and one of the context: 10일 and 3일 make 7일."""
    pairs = [(a, b, unit) for a, unit in given for b, other in context if unit == other and 1 not in (a, b)]
    return {(_tidy(abs(a - b)), unit) for a, b, unit in pairs if a != b}


def _ages(given: Collection[Key], context: Collection[Key]) -> set[Key]:
    """Return the ages that follow from an age of the question: the next birthday, and those a known period later."""
    ages = [age for age, unit in given if unit == "세"]
    years = [1.0, *(months / 12 for months, unit in {*given, *context} if unit == "개월" and months % 12 == 0)]
    return {(_tidy(age + n), "세") for age in ages for n in years}


def _counts(given: Collection[Key], context: Collection[Key]) -> set[Key]:
    """Return how many times a quantity of the context fits into one of the question: 3 times 3년 in 9년."""
    pairs = [(a / b, unit) for a, unit in given for b, other in context if unit == other and 1 < b < a]
    return {(ratio, "회") for ratio, unit in pairs if unit in _DAYS and ratio == int(ratio)}


def _is_calculated(result: Key, own: Collection[Key], context: Collection[Key], derived: Collection[Key]) -> bool:
    """Return whether the result can be calculated from two operands, or is the sum of three."""
    value, unit = result
    if any(_sum_or_difference(result, a, b) or _product(result, a, b) for a, b in combinations(own, 2)):
        return True
    if any(_product(result, a, b) for a in (*own, *derived) for b in context):
        return True
    if unit == "원" and _is_share_less_deduction(value, own, context):
        return True
    # The share that is left: of 400만원 with a 30% deduction, 70% are paid.
    shares = own if not any(other == "원" for _, other in own) else (*own, *context)
    if unit == "%" and any(other == "%" and value == _tidy(100 - a) for a, other in shares):
        return True
    same = [a for a, other in own if other == unit]
    return any(value == _tidy(sum(three)) for three in combinations(same, 3))


def _is_share_less_deduction(value: float, own: Collection[Key], context: Collection[Key]) -> bool:
    """Return whether a result is a share of an amount, less another amount: 70% of 13만원, less 3만원."""
    shares = [share for share, unit in context if unit == "%"]
    deducted = [amount for amount, unit in context if unit == "원"]
    if len(shares) * len(deducted) > MAX_PAIRS:
        return False
    amounts = [amount for amount, unit in own if unit == "원"]
    return any(value == _tidy(a * share / 100 - less) for a in amounts for share in shares for less in deducted)


def _sum_or_difference(result: Key, a: Key, b: Key) -> bool:
    value, unit = result
    if not (a[1] == b[1] == unit):
        return False
    difference = abs(a[0] - b[0])
    return value in (_tidy(a[0] + b[0]), _tidy(difference)) or (unit == "일" and value == _tidy(difference + 1))


def is_product(result: Key, left: Collection[Key], right: Collection[Key]) -> bool:
    """Return whether the result is a product of two other quantities, one from each collection."""
    return any(result not in (a, b) and _product(result, a, b) for a in left for b in right)


def _product(result: Key, a: Key, b: Key) -> bool:
    value, unit = result
    if a[1] == b[1] or unit not in (a[1], b[1]) or unit in ("%", "배"):
        return False
    factor, base = (b, a[0]) if unit == a[1] else (a, b[0])
    if factor[1] not in (_AMOUNT_FACTORS if unit == "원" else _FACTORS):
        return False
    if factor[1] != "%":
        return value == _tidy(a[0] * b[0])
    return value in (_tidy(a[0] * b[0] / 100), _tidy(base * (100 - factor[0]) / 100))


def is_each(text: str, quantity: Quantity) -> bool:
    """Return whether the quantity only means "each" or "once": 1회당, 한 번마다, 한 번만, 하루 요금."""
    if quantity.value != 1 or quantity.unit not in _EACH_UNITS:
        return False
    if quantity.text == "하루":
        return _WITHIN.match(text, quantity.end) is None
    return _EACH.match(text, quantity.end) is not None


def _is_trivial(text: str, quantity: Quantity, known: Set[Key]) -> bool:
    """Return whether the quantity says no more than words do, or is the first one beyond a known limit.

    0원 means that nothing is paid, and 100% that all is paid. `61세부터` follows from `60세까지`.
    """
    if quantity.key in ((0.0, "원"), (0.0, "%")) or (quantity.key == (100.0, "%") and _ALL.search(text)):
        return True
    if quantity.unit == "세" and quantity.value == 1:
        return True
    if quantity.unit == "개월" and quantity.value >= FIRST_YEAR * 12:
        return True
    if quantity.unit == "일" and _MONTH.search(_before(text, quantity)):
        return True
    before = (quantity.value - 1, "일" if quantity.unit == "일째" else quantity.unit)
    return quantity.unit in ("세", "일째") and before in known and _FROM.match(text, quantity.end) is not None


def is_example(text: str, quantity: Quantity) -> bool:
    """Return whether the quantity is in a sentence that gives an example, or is a point in time that it assumes."""
    first = max(0, quantity.start - MAX_SENTENCE)
    start = max(text.rfind(". ", first, quantity.start), text.rfind("\n", first, quantity.start), first - 1) + 1
    if _EXAMPLE.search(text, start, quantity.start):
        return True
    return quantity.unit in _DAYS and not bound_of(text, quantity) and _ASSUMED.match(text, quantity.end) is not None


def _is_approximate(text: str, quantity: Quantity, known: Set[Key]) -> bool:
    """Return whether the quantity is a rounded form of a known period: 한 달 반쯤 for 45일."""
    if quantity.unit not in _DAYS:
        return False
    half = _HALF.match(text, quantity.end)
    rounded = half or _ABOUT.match(text, quantity.end) or _ABOUT_BEFORE.search(_before(text, quantity))
    tolerance = 0.1 if rounded else 0.035
    days = (quantity.value + (0.5 if half else 0)) * _DAYS[quantity.unit]
    return any(abs(days - v * _DAYS[unit]) <= tolerance * days for v, unit in known if unit in _DAYS)


def _is_hypothetical(text: str, quantity: Quantity) -> bool:
    """Return whether the quantity is in an example, or in a condition that the answer makes up."""
    last = quantity.end + 30
    end = text.find(". ", quantity.end, last + 2)
    return _CONDITION.search(text, quantity.end, min(last, end if end > 0 else len(text))) is not None


def _before(text: str, quantity: Quantity) -> str:
    """Return the few characters in front of a quantity."""
    return text[max(0, quantity.start - 8) : quantity.start]


def _key(quantity: Quantity) -> Key:
    """Return the quantity's key. The 4th day (4일째) counts as 4 days, because answers calculate with both."""
    return (quantity.value, "일") if quantity.unit == "일째" else quantity.key


def _tidy(value: float) -> float:
    return round(value, 6)
