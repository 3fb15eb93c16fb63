"""Numbers as pages write them: one way for each kind, rounded as a reader would round the number in the document.

Halves are rounded away from zero, and it is the decimal number of the JSON document that is rounded: 0.12345 is 12.35
points, though the binary number behind it lies a little below. Counts have separators of thousands; names that are
numbers, such as features, have none, for they are typed as options.
"""

from collections.abc import Callable
from decimal import ROUND_HALF_UP, Context, Decimal

# as many digits as the largest float has before its point and the smallest one after it
_EXACT = Context(prec=800, rounding=ROUND_HALF_UP)


def fixed(value: float, digits: int, sign: str = "") -> str:
    """With so many decimals; `sign` "+" shows both signs."""
    return _written(_decimal(value), digits, sign)


def percentage(share: float, digits: int = 1, sign: str = "") -> str:
    """A share in percent, without the sign `%`."""
    return _written(_decimal(share).scaleb(2, _EXACT), digits, sign)


def significant(value: float, digits: int = 2, sign: str = "") -> str:
    """With so many digits however small; final zeros stay, for they are digits that were measured."""
    exact = _decimal(value)
    if not exact:
        return _written(exact, digits, sign)
    rounded = Context(prec=digits, rounding=ROUND_HALF_UP).plus(exact)
    place = rounded.adjusted()
    if place < -4:
        return f"{rounded:{sign}.{digits - 1}e}"
    # whole numbers stay whole: 1,234 and not 1,200
    return _written(exact if place >= digits else rounded, max(0, digits - 1 - place), sign)


def amount(value: float) -> str:
    """Three digits, so that columns line up; two of small ones."""
    if abs(value) < 0.1:
        return significant(value, 2)
    return fixed(value, 2 if abs(value) < 10 else 1 if abs(value) < 100 else 0)


def points(share: float) -> str:
    """A change of accuracy in percentage points."""
    return percentage(share, 2, "+")


def nats(change: float) -> str:
    """A change of log-probability: two digits, however small."""
    return significant(change, 2, "+")


def span(values: tuple[str, str], unit: str = "") -> str:
    """`low to high`; one number where both are written alike."""
    low, high = values
    return f"{low}{unit}" if low == high else f"{low} to {high}{unit}"


def interval_text(low: float | None, high: float | None, show: Callable[[float], str]) -> str:
    """`-0.10 to +0.20`; a dash where too few problems carry the mean for an interval."""
    return "-" if low is None or high is None else f"{show(low)} to {show(high)}"


def p_text(p_value: float | None) -> str:
    """`0.032`, `< 0.0001`."""
    if p_value is None:
        return "-"
    # a bound, not "0.0000": no test of this size gives a p-value of zero
    return "< 0.0001" if p_value < 1e-4 else fixed(p_value, 4)


def counted(n: int, one: str, many: str = "") -> str:
    """`1 feature`, `1,234 features`."""
    return f"{n:,} {one if n == 1 else many or f'{one}s'}"


def _decimal(value: float) -> Decimal:
    # the shortest decimal number that is this float, as JSON has it; the sum makes a zero without a sign of -0.0
    return Decimal(repr(float(value) + 0.0))


def _written(exact: Decimal, digits: int, sign: str) -> str:
    rounded = exact.quantize(Decimal(1).scaleb(-digits), context=_EXACT)
    return f"{rounded:{sign},.{digits}f}"
