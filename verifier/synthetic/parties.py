"""Sellers and buyers of the synthetic ledger: names that say so, and tax ids of nobody.

An organisation code (the 9 characters inside a tax id, GB 11714) carries a check character of
its own. Here it is wrong on purpose, so no id can belong to a real company, while the check
character of the whole id, the one that domain.md §5 speaks of, is right.
"""

from __future__ import annotations

from typing import NamedTuple

from verifier.invoice.codes import REGIONS
from verifier.invoice.taxids import ALPHABET, check_character
from verifier.synthetic.draws import draw

SELLERS_PER_REGION = 128
BUYERS = 4096
_SIZE = 16  # random bytes for each party

_ORGANISATION_WEIGHTS = (3, 7, 9, 10, 5, 8, 4, 2)
_TRADES = ("商贸", "科技", "物流", "餐饮", "建材", "医药", "软件", "机电")


class Party(NamedTuple):
    """One seller or buyer; an individual has an empty tax id."""

    tax_id: str
    name: str


def _organisation(bits: bytes, alphabet: str) -> str:
    """Nine characters of ``alphabet`` whose check character (GB 11714) is wrong."""
    body = "".join(alphabet[byte % len(alphabet)] for byte in bits[:8])
    total = sum(
        int(character, 36) * weight
        for character, weight in zip(body, _ORGANISATION_WEIGHTS, strict=True)
    )
    # The right one is 11 − Σ mod 11, where 10 is written X and 11 is written 0.
    right = (11 - total % 11) % 11
    return body + str((right + 1 + bits[8] % 8) % 10 if right < 10 else bits[8] % 10)


def tax_id(region: str, index: int, bits: bytes) -> str:
    """The id of party ``index`` of a region, from at least 13 random bytes.

    Most have 18 characters and a right check character; of 128, two are of the older 15 digits,
    one has 20, and one fails its check character, as issued invoices show it.
    """
    city = "01" if region.endswith("00") else region[2:]
    division = f"{region[:2]}{city}{bits[9] % 24 + 1:02d}"
    shape = index % 128
    if shape in (37, 101):
        return division + _organisation(bits, ALPHABET[:10])
    if shape == 53:
        return f"{division}{_organisation(bits, ALPHABET[:10])}{bits[10] * 256 + bits[11]:05d}"
    first17 = f"91{division}{_organisation(bits, ALPHABET)}"
    check = check_character(first17) or ""
    if shape == 71:
        check = ALPHABET[(ALPHABET.index(check) + 1 + bits[12] % 30) % 31]
    return first17 + check


def sellers(seed: int) -> dict[str, tuple[Party, ...]]:
    """The sellers of each region; the first ones of each shall sell the most."""
    pools = {}
    for region, chinese in REGIONS.items():
        bits = draw(f"sellers {seed} {region}", SELLERS_PER_REGION * _SIZE)
        pools[region] = tuple(
            Party(
                tax_id(region, index, bits[index * _SIZE : (index + 1) * _SIZE]),
                f"测试{chinese}{_TRADES[index % len(_TRADES)]}有限公司{index:03d}",
            )
            for index in range(SELLERS_PER_REGION)
        )
    return pools


def buyers(seed: int) -> tuple[Party, ...]:
    """The companies that buy, from all regions."""
    bits = draw(f"buyers {seed}", BUYERS * _SIZE)
    regions = tuple(REGIONS)
    return tuple(
        Party(
            tax_id(
                regions[bits[index * _SIZE + 15] % len(regions)],
                index,
                bits[index * _SIZE : (index + 1) * _SIZE],
            ),
            f"测试购买有限公司{index:04d}",
        )
        for index in range(BUYERS)
    )


def individuals() -> tuple[Party, ...]:
    """Buyers without a tax id, as many as there are companies."""
    return tuple(Party("", f"测试个人{index:04d}") for index in range(BUYERS))
