"""Formats a text can be promised to have; each is one pattern that Python, DuckDB and JSON Schema read alike."""

from __future__ import annotations

from enum import StrEnum
from itertools import groupby


class Format(StrEnum):
    """What a text is meant to be. Each format is a spelling that can be looked at; none asks whether it exists."""

    EMAIL = "email"
    URI = "uri"
    UUID = "uuid"
    PHONE = "phone"
    COUNTRY = "country"
    CURRENCY = "currency"


def _codes(text: str) -> tuple[str, ...]:
    return tuple(text.split())


COUNTRIES = _codes(
    "AD AE AF AG AI AL AM AO AQ AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI BJ BL BM BN BO BQ BR BS BT BV BW BY BZ "
    "CA CC CD CF CG CH CI CK CL CM CN CO CR CU CV CW CX CY CZ DE DJ DK DM DO DZ EC EE EG EH ER ES ET FI FJ FK FM FO "
    "FR GA GB GD GE GF GG GH GI GL GM GN GP GQ GR GS GT GU GW GY HK HM HN HR HT HU ID IE IL IM IN IO IQ IR IS IT JE "
    "JM JO JP KE KG KH KI KM KN KP KR KW KY KZ LA LB LC LI LK LR LS LT LU LV LY MA MC MD ME MF MG MH MK ML MM MN MO "
    "MP MQ MR MS MT MU MV MW MX MY MZ NA NC NE NF NG NI NL NO NP NR NU NZ OM PA PE PF PG PH PK PL PM PN PR PS PT PW "
    "PY QA RE RO RS RU RW SA SB SC SD SE SG SH SI SJ SK SL SM SN SO SR SS ST SV SX SY SZ TC TD TF TG TH TJ TK TL TM "
    "TN TO TR TT TV TW TZ UA UG UM US UY UZ VA VC VE VG VI VN VU WF WS YE YT ZA ZM ZW"
)
"""ISO 3166-1 alpha-2, the officially assigned codes; so neither UK nor XK."""

CURRENCIES = _codes(
    "AED AFN ALL AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BGN BHD BIF BMD BND BOB BOV BRL BSD BTN BWP BYN BZD CAD CDF "
    "CHE CHF CHW CLF CLP CNY COP COU CRC CUP CVE CZK DJF DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GNF "
    "GTQ GYD HKD HNL HTG HUF IDR ILS INR IQD IRR ISK JMD JOD JPY KES KGS KHR KMF KPW KRW KWD KYD KZT LAK LBP LKR LRD "
    "LSL LYD MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MXV MYR MZN NAD NGN NIO NOK NPR NZD OMR PAB PEN PGK PHP "
    "PKR PLN PYG QAR RON RSD RUB RWF SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TND TOP "
    "TRY TTD TWD TZS UAH UGX USD USN UYI UYU UYW UZS VED VES VND VUV WST XAF XCD XCG XOF XPF YER ZAR ZMW ZWG"
)
"""ISO 4217, the codes of money that people pay with or count in (no metals, no test codes).

ANG and BGN are kept though nobody pays with them since 2025 and 2026: events of earlier years name them.
"""


def _one_of(codes: tuple[str, ...]) -> str:
    """A pattern for any of some codes, gathered by all letters but the last, so that a search has less to do."""
    gathered = groupby(sorted(codes), key=lambda code: code[:-1])
    return "|".join(f"{start}[{''.join(code[-1] for code in ending)}]" for start, ending in gathered)


_LABEL = "[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?"

FORMAT_PATTERNS: dict[Format, str] = {
    Format.EMAIL: rf"[A-Za-z0-9.!#$%&'*+/=?\^_`{{|}}~-]+@{_LABEL}(?:\.{_LABEL})+",
    Format.URI: (r"[A-Za-z][A-Za-z0-9+.-]*:(?:[A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=-]|%[0-9A-Fa-f][0-9A-Fa-f])+"),
    Format.UUID: "[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{12}",
    Format.PHONE: r"\+[1-9][0-9]{6,14}",
    Format.COUNTRY: _one_of(COUNTRIES),
    Format.CURRENCY: _one_of(CURRENCIES),
}
"""Each matched against the whole text: `re.fullmatch`, `regexp_full_match`, and `^(?:…)$` in JSON Schema.

None takes a quote, a backslash or a control character, so each can be matched against the text as JSON writes it.
An e-mail address is one that HTML's input field takes, with a dot in its domain; a URI is absolute and written in ASCII
(RFC 3986); a phone number is E.164 (`+4915112345678`); codes are upper case.
"""
