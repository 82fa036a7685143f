"""Patterns for names of people: a name before 님 or 씨, and a name after a word such as 성함 or 예금주."""

from __future__ import annotations

import re

_SURNAMES = (
    "김이박최정강조윤장임한오서신권황안송류유전홍고문양손배백허남심노하곽성차주우구민진지엄채원천방공현함변염여추도소석선설마길연"
    "위표명반왕금옥육인맹제모탁나라"
)
_DOUBLE = "남궁|황보|제갈|선우|독고|사공|서문|동방"
_FULL = rf"(?:(?:{_DOUBLE})[가-힣]{{1,2}}|[{_SURNAMES}][가-힣]{{1,2}})"
# What may follow 님 or 씨 in the same word: particles and endings.
_PARTICLE = (
    r"(?=[^가-힣]|$|(?:이|가|은|는|을|를|의|에게|한테|께|께서|도|와|과|랑|이랑|하고|만|로|으로|네|측|보다|처럼|부터|까지|라고|이라고|"
    r"입니다|이에요|예요|이신|이시|이고|인데|이세요|맞)(?![가-힣]{5}))"
)
_TITLE = (
    r"(?:고객|회원|환자|가입자|계약자|피보험자|수익자|보호자|설계사|상담사|상담원|담당자|과장|팀장|대리|부장|차장|원장|선생|교수|"
    r"사장|대표)"
)
_NAMED = (
    r"(?:성함|이름|성명|예금주|명의자|수신인|받는\s?(?:분|사람)|계약자명|피보험자명|환자명|고객명|수익자명)"
    r"(?:(?:은|는|이)?\s|은|는|\s?[:=]\s?)"
)

NAME_PATTERNS: tuple[re.Pattern[str], ...] = (
    re.compile(
        rf"(?P<keep>{_NAMED})(?P<name>{_FULL})(?=[^가-힣]|$|입니다|인데|이고|이며|이에요|이요|예요|이라|라고|으?로|님|씨)"
    ),
    re.compile(rf"(?P<keep>(?:저는|제가|저|본인은)\s)(?P<name>{_FULL})(?=(?:이)?라고\s?(?:합니다|하는데|해요|하고))"),
    re.compile(rf"(?<![가-힣])(?P<titled>{_FULL})(?=\s{_TITLE}(?:님|씨))"),
    re.compile(rf"(?<![가-힣])(?P<honored>[가-힣]{{2,4}}|[{_SURNAMES}]\s[가-힣]{{2}})(?=\s?님{_PARTICLE})"),
    re.compile(
        rf"(?<![가-힣])(?P<addressed>[가-힣]{{2,4}}|[{_SURNAMES}]|[{_SURNAMES}]\s[가-힣]{{2}})(?=\s?씨{_PARTICLE})"
    ),
)

# Words before 님 that are no names. A word that ends in one of them is no name either: 손해사정사님.
_TITLES = re.compile(
    r"(?:고객|회원|환자|손|가입자|계약자|보험자|수익자|청구자|신청자|문의자|담당자|심사자|책임자|관리자|운영자|작성자|보호자|배우자|당사자|"
    r"피해자|가해자|운전자|소유자|사용자|이용자|설계사|상담사|상담원|직원|사원|요원|행원|의원|위원|조합원|연구원|공무원|간호사|의사|약사|"
    r"한의사|기사|변호사|세무사|회계사|법무사|노무사|사정사|조사관|검사|판사|경찰관|소방관|교사|강사|이사|감사|매니저|컨설턴트|플래너|"
    r"선생|교수|박사|원장|병원장|과장|팀장|부장|차장|실장|국장|소장|점장|지점장|지사장|센터장|사장|회장|본부장|단장|반장|대장|이장|통장|"
    r"대표|대리|주임|계장|실무자|전문가|작가|감독|시어머|어머|아버|시아버|할머|할아버|외할머|외할아버|부모|아드|따|며느|사위|"
    r"이모|고모|숙모|외숙모|장모|장인|형수|제수|올케|형부|매형|처남|아주버|도련|아가|서방|누|형|오라버|언니|사모|마|주인|임대인|임차인|모집인|"
    r"본인|대리인|의뢰인|상속인|피상속인|법정상속인|증인|보증인|여러분|선배|후배|동료|친구|이웃|하느|하나|부처|신부|목사|스|수녀|임금|"
    r"챗봇|상담봇|봇|회사|보험사|보험|은행|병원|센터|남편|아내|신랑|와이프|어르신|아저씨|예비|해당|모든|우리|저희|각|기존|신규|전체)$"
)
# Words that end in 씨 and are no names.
_SEED_WORDS = frozenset(
    [
        "아저",
        "아가",
        "마음",
        "말",
        "솜",
        "글",
        "날",
        "맵",
        "불",
        "홀",
        "볍",
        "꽃",
        "눈",
        "섭",
        "화",
        "바람",
        "우리글",
        "손글",
    ]
)
_NO_NAMES = re.compile(
    r"^(?:소중한|문의한|이러한|이용한|유사한|신청한|구매한|방문한|전화한|주문한|진단한|진행한|변경한|연락한|성실한|안전한|정확한|현명한|"
    r"건강한|심각한|유일한|유명한|이번|다음|어느|아빠|엄마|여러|가입한|기다린|원하는|하시는|오시는|지난번|다른|어떤|이런|그런|저런|모든|우리|주요|전체|"
    r"기존|신규|해당|상기|본인|사고|보험|담보|계약|주피|주계약|무보험|종피|이하|상담|전담|전문|전용|지정|공동|가족|일반|우수|신입|"
    r"정규|가상|소개|은행|병원|동네|지역|해외|국내|외국|장기|단기|성인|여성|남성|노인|유아|소아|산모|임산부|임신|고령|고령자|"
    r"서면|최초|추가|제휴|제출|명의|가명|사용|수령|변경|확인|인증|조회|입력|기재|등록|공개|노출|표시)$"
)


def is_name(match: re.Match[str]) -> bool:
    """Return whether a word before 님, 씨 or a title is the name of a person.

    >>> [match[0] for pattern in NAME_PATTERNS for match in pattern.finditer("김철수님, 고객님") if is_name(match)]
    ['김철수']
    """
    found = {kind: text for kind, text in match.groupdict().items() if text and kind != "keep"}
    word = "".join(next(iter(found.values())).split())
    if _NO_NAMES.match(word):
        return False
    if "addressed" in found:
        return word not in _SEED_WORDS and not any(len(s) > 1 and word.endswith(s) for s in _SEED_WORDS)
    return not _TITLES.search(word)
