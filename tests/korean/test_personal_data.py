"""Personal data is replaced in many ways of writing, and the words of policies and questions are not."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable

import pytest

from insurance_rag.chunks import read_chunks, read_questions
from insurance_rag.korean.personal_data import anonymize
from insurance_rag.korean.personal_numbers import passes_luhn

PER_KIND = 400
SENTENCES = (
    "{} 이걸로 조회해 주세요",
    "안녕하세요. {}인데요, 암 진단비 청구했는데 언제 나와요?",
    "제 정보 남깁니다({}) 보험금 90일 지나야 하나요",
    "{}, 입원 10일에 3,000만원 맞나요?",
    "갱신 문의: {}\n답변 기다립니다.",
)
SURNAMES = "김이박최정강조윤장임한오서신권황안송류홍"
GIVEN = "민서지우현준수아영호철희연정윤도하은경진태성"


def digits(rng: random.Random, n: int) -> str:
    return "".join(str(rng.randrange(10)) for _ in range(n))


def registration(rng: random.Random, centuries: str) -> str:
    date = f"{rng.randrange(100):02}{rng.randrange(1, 13):02}{rng.randrange(1, 29):02}"
    gap = rng.choice(["-", "-", "", " ", " - ", "–", "."])
    rest = rng.choice([digits(rng, 6), digits(rng, 6), "******"]) if gap == "-" else digits(rng, 6)
    return date + gap + rng.choice(centuries) + rest


def resident(rng: random.Random) -> str:
    return registration(rng, "12349")


def foreigner(rng: random.Random) -> str:
    return registration(rng, "5678")


def mobile(rng: random.Random) -> str:
    a, b = digits(rng, 4), digits(rng, 4)
    gap = rng.choice(["-", "-", "", " ", ".", " - ", "–"])
    start = rng.choice(["010", "010", "011", "016", "+82 10", "+82-10", "(010)", "０１０"])
    return f"{start}{gap}{a}{gap}{b}"


def land_line(rng: random.Random) -> str:
    area = rng.choice(["02", "031", "032", "042", "051", "053", "062", "064", "070", "0505"])
    gap = rng.choice(["-", "-", ")", " ", ".", ""])
    return f"{area}{gap}{rng.randrange(200, 9999)}{'-' if gap == ')' else gap}{digits(rng, 4)}"


def account(rng: random.Random) -> str:
    form = rng.choice(["3-3-6", "4-2-7", "6-2-6", "4-3-6", "3-4-4-2", "3-6-2-3", "12", "14", "11"])
    number = "-".join(digits(rng, int(n)) for n in form.split("-"))
    bank = rng.choice(
        ["신한은행", "국민은행", "농협", "카카오뱅크", "우리은행 계좌", "하나은행", "기업은행 통장", "토스"]
    )
    if len(form) > 2 and rng.random() < 0.4:
        return number
    return rng.choice([f"{bank} {number}", f"계좌번호는 {bank} {number}", f"{number} ({bank})", f"{bank}: {number}"])


def card(rng: random.Random) -> str:
    body = rng.choice("3459") + digits(rng, 14)
    number = next(body + last for last in "0123456789" if passes_luhn(body + last))
    gap = rng.choice(["-", " ", "", "–"])
    return gap.join(number[i : i + 4] for i in range(0, 16, 4))


def email(rng: random.Random) -> str:
    user = rng.choice(["minsu", "kim.yh", "lee_77", "jh-park", "A1b2", "ceo+claim"]) + digits(rng, 2)
    return f"{user}{rng.choice(['@', '@', '@', ' @ ', '＠'])}{rng.choice(['naver.com', 'gmail.com', 'mail.kt.co.kr'])}"


def car_plate(rng: random.Random) -> str:
    number = rng.choice([digits(rng, 2), digits(rng, 3)])
    letter, gap = (
        rng.choice("가나다라마거너더러버서어저고노도로모보소오조구누두루무부수우주아바사자하허호"),
        rng.choice(["", " "]),
    )
    head = rng.choice(["", "", "서울 ", "경기"]) if len(number) == 2 else ""
    return f"차량번호 {head}{number}{letter}{gap}{digits(rng, 4)}"


def address(rng: random.Random) -> str:
    region = rng.choice(
        [
            "서울특별시 강남구",
            "서울 마포구",
            "경기도 성남시 분당구",
            "부산광역시 해운대구",
            "대전 유성구",
            "전라남도 순천시",
        ]
    )
    road = rng.choice(["테헤란로", "월드컵북로", "불정로", "센텀중앙로", "대학로", "중앙대로", "새빛로12길", "한울3로"])
    town = rng.choice(["역삼동", "상암동", "정자동", "우동", "궁동", "조례동", "논현1동"])
    flat = rng.choice(
        ["", f" {rng.randrange(101, 120)}동 {rng.randrange(101, 2500)}호", " 3층", " 한빛아파트 102동 1203호"]
    )
    number = f"{rng.randrange(1, 900)}" + rng.choice(["", f"-{rng.randrange(1, 60)}"])
    return f"{region} " + rng.choice([f"{road} {number}{flat}", f"{town} {number}{rng.choice(['번지', ''])}{flat}"])


def name(rng: random.Random) -> str:
    given = "".join(rng.sample(GIVEN, rng.choice([1, 2, 2, 2])))
    full = rng.choice(SURNAMES) + given
    return rng.choice([f"{full}님", f"{full} 님", f"{full}씨", f"{full} 씨", f"성함은 {full}"])


MAKERS: dict[str, Callable[[random.Random], str]] = {
    "resident_number": resident,
    "foreigner_number": foreigner,
    "mobile_phone": mobile,
    "phone": land_line,
    "account": account,
    "card": card,
    "email": email,
    "car_plate": car_plate,
    "address": address,
    "name": name,
}


@pytest.mark.parametrize("kind", MAKERS)
def test_personal_data_is_found(kind: str) -> None:
    """No digit and no name of the personal data may remain. The words around it must."""
    rng = random.Random(f"personal data {kind}")
    missed = []
    for _ in range(PER_KIND):
        personal = MAKERS[kind](rng)
        sentence = rng.choice(SENTENCES)
        shown, _ = anonymize(sentence.format(personal))
        kept = [part for part in sentence.replace("\n", "{}").split("{}") if part]
        if not all(part.strip("( ,).") in shown for part in kept) or _remains(kind, personal, shown, sentence):
            missed.append((personal, shown))
    assert len(missed) <= 0.01 * PER_KIND, missed[:10]


def _remains(kind: str, personal: str, shown: str, sentence: str) -> bool:
    if kind == "name":
        full = personal.removeprefix("성함은 ").rstrip("님씨 ")
        return full in shown
    own = sum(c.isdigit() for c in shown) - sum(c.isdigit() for c in sentence)
    return own > 0 or (kind == "email" and "@" in shown) or (kind == "address" and "구 " in shown)


def test_texts_without_personal_data_stay_as_they_are() -> None:
    """Policies, questions, and what looks like personal data at first sight."""
    harmless = [
        "제7조에 따라 3,000만원을 지급하나요?",
        "제10조 2024년 개정안",
        "제12호 3456건",
        "2024-03-01부터 2025-02-28까지",
        "계약일 2023.11.05, 만기 2033.11.05",
        "질문 q001, 청크 hanbit_cancer_001",
        "입원 10주 1500만원",
        "대표번호 1588-1234로 걸었어요",
        "심의필 제2024-12345호",
        "증권번호 제2024-1234-567890호",
        "고객님, 설계사님께 문의하세요",
        "아저씨가 날씨를 물었다",
        "병원장님과 간호사님",
        "사고로 10일 입원했어요",
        "이유로 3,000만원 감액",
        "질병으로 30일 초과",
        "비율은 12.5%이고 1,234,567원",
        "100만원 초과 500만원 이하",
        "03:30에 접수 20240301 처리",
        "담당 과장님이 전화했어요",
        "여러분 모두 어머님도 가능한가요",
        "제3조(용어) 제1항 제2호의 5",
        "15도 1000km 주행",
        "보험가입금액 5000-10000만원 구간",
        "가입한 고객님은 누구나",
        "부모님 보험으로 1,000,000원 받나요",
        "서울시에 살면 할인되나요",
        "강남 세브란스 병원 입원비",
        "10년납 20년만기 80세",
    ]
    changed = [(text, shown) for text in harmless if (shown := anonymize(text)[0]) != text]
    assert not changed

    texts = [chunk.text for chunk in read_chunks("sample")] + [q.question for q in read_questions("sample")]
    found: Counter[str] = Counter()
    for text in texts:
        found += anonymize(text)[1]
    assert found.total() <= 0.005 * len(texts), found
