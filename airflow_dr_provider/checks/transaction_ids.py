"""Transaction ids: 32 bits of them stand in a row, 64 tell when."""

from __future__ import annotations


def widen(xid: int, next_transaction: int) -> int | None:
    """The 64-bit id of a transaction whose 32-bit id stands in ``xmin``.

    The largest value before the next one that ends in those 32 bits: right for every row written less than 2^32 transactions
    ago, also when it was frozen since (manual, *Preventing Transaction ID Wraparound Failures*: xmin is kept).

    :return: None for the permanent ids 0 to 2, which say nothing about when.
    """
    if xid < 3:
        return None
    last = next_transaction - 1
    wide = last - ((last - xid) & 0xFFFFFFFF)
    return wide if wide >= 0 else None
