"""Unknown fields: what other systems call ours, and how a name that is none of ours is reported.

Keys are compared without case, spaces, hyphens and underscores. The names are those of other
verification services, of accounting software, of tax control software (pinyin initials) and of
the files of electronic invoices (domain.md §7).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Set
from itertools import islice
from typing import Any

from verifier.invoice.fields import FieldError

# An item or a line lists at most this many errors; the rest is a number.
MAX_ERRORS = 20
# An answer lists rejected lines up to this many errors in all; the rest is a number of lines.
MAX_LISTED = 1_000

# An unknown field's name comes back in the error; this much of it.
_LONGEST_NAME = 64

_PARTY = {"seller": ("xf", "销售方", "销方", "卖方"), "buyer": ("gf", "购买方", "购方", "买方")}
_CALLED = {
    "kind": "invoice type|invoice kind|type|fplx|fplxdm|发票种类|发票类型|票种",
    "code": "invoice code|fpdm|发票代码",
    "number": "invoice number|invoice num|invoice no|no|num|einvoice number|fphm|sdphm|qdfphm|eiid"
    "|发票号码|发票号|数电票号码|全电发票号码",
    "date": "invoice date|issue date|issue time|billing date|billing time|date of issue|kprq"
    "|开票日期|开票时间|开具日期",
    "check_code": "check no|verify code|verification code|validate code|jym|校验码",
    "amount": "invoice amount|amount without tax|total amount without tax|total am without tax"
    "|pretax amount|hjje|je|bhsje|金额|不含税金额|合计金额",
    "tax": "tax amount|total tax|total tax am|se|hjse|税额|合计税额",
    "total": "total amount|total price|amount with tax|amount tax|total tax included amount|fare"
    "|jshj|价税合计|含税金额|票价|车价合计",
    "qr": "qr code|qrcode text|ewm|二维码",
    "status": "invoice status|state|fpzt|发票状态",
    "reference": "remark id|external id|request id|serial no|lsh|流水号",
    **{
        f"{party}_tax_id": f"{party} tax no|{party} tax number|{party} taxpayer id|{party} id"
        f"|{party} id num|{initials}sh|{initials}nsrsbh|"
        + "|".join(f"{name}{what}" for name in chinese for what in ("税号", "纳税人识别号"))
        for party, (initials, *chinese) in _PARTY.items()
    },
    **{
        f"{party}_name": f"{party}|{initials}mc|" + "|".join(f"{name}名称" for name in chinese)
        for party, (initials, *chinese) in _PARTY.items()
    },
}
_OURS = (
    *_CALLED, "region", "red_letter", "red_letter_of", "red_letters", "issued_at",
)  # fmt: skip

_IGNORED = re.compile(r"[\s_\-]+")


def _plain(name: str) -> str:
    return _IGNORED.sub("", name).lower()


_FIELD_OF = {_plain(field): field for field in _OURS} | {
    _plain(name): field for field, names in _CALLED.items() for name in names.split("|")
}


def _shown(name: str) -> str:
    """A name as an error shows it: cut, and without characters that garble the text around it."""
    name = name[:_LONGEST_NAME]
    if name.isprintable():
        return name
    return "".join([each if each.isprintable() else "\ufffd" for each in name])


def _unknown(name: str, known: Set[str]) -> FieldError:
    meant = _FIELD_OF.get(_plain(name), "") if len(name) <= _LONGEST_NAME else ""
    return FieldError(_shown(name), "unknown_field", meant if meant in known else "")


def listed(
    errors: Iterable[FieldError], given: Mapping[str, Any], known: Set[str]
) -> tuple[tuple[FieldError, ...], int]:
    """The errors to list, sorted by field, and how many more there are.

    ``errors`` are those of known fields, fewer than MAX_ERRORS and all listed. Each name of
    ``given`` that is not ``known`` is one more; the first ones fill the list. Only names that are
    listed are looked at, however many there are.
    """
    found = set(errors)
    unknown = len(given) - sum([name in given for name in known])
    names = islice((name for name in given if name not in known), MAX_ERRORS - len(found))
    # Long names may be cut to the same one, which is listed once.
    told = {_unknown(name, known) for name in names}
    return tuple(sorted(found | told)), unknown - len(told)
