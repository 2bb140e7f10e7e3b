"""Random numbers that are the same on every machine and in every order: the n-th draw of a named stream.

Counter-based (the finalizer of splitmix64 over key + n * golden ratio), so no draw depends on an earlier one,
a whole column is drawn at once, and nothing rests on a library's own generator. Integers only: floating-point
functions differ in the last digit from one machine to the next.
"""

from __future__ import annotations

from hashlib import sha256

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

_GOLDEN = 0x9E3779B97F4A7C15
_FIRST, _SECOND = 0xBF58476D1CE4E5B9, 0x94D049BB133111EB
_MASK = (1 << 64) - 1


class Draws:
    """One stream of draws, named: `Draws(seed, "viewer").one(7)` is always the same 64 bits.

    Distinct counters give distinct draws (the finalizer is a bijection), so draws serve as ids too.
    """

    def __init__(self, seed: int, name: str) -> None:
        self._key = int.from_bytes(sha256(f"{seed}/{name}".encode()).digest()[:8], "big")

    def one(self, counter: int) -> int:
        """The 64 bits at `counter`."""
        bits = (self._key + counter * _GOLDEN) & _MASK
        bits = ((bits ^ (bits >> 30)) * _FIRST) & _MASK
        bits = ((bits ^ (bits >> 27)) * _SECOND) & _MASK
        return bits ^ (bits >> 31)

    def below(self, counter: int, bound: int) -> int:
        """A whole number from 0 to `bound` - 1; `bound` is at most 2**32."""
        return ((self.one(counter) >> 32) * bound) >> 32

    def chance(self, counter: int, percent: int) -> bool:
        """True `percent` times in a hundred."""
        return self.below(counter, 100) < percent

    def column(self, counters: pl.Series) -> pl.Series:
        """`one` for a whole UInt64 column."""
        bits = pc.add(pc.multiply(counters.to_arrow(), _u64(_GOLDEN)), _u64(self._key))
        bits = pc.multiply(pc.bit_wise_xor(bits, pc.shift_right(bits, _u64(30))), _u64(_FIRST))
        bits = pc.multiply(pc.bit_wise_xor(bits, pc.shift_right(bits, _u64(27))), _u64(_SECOND))
        return pl.Series(pc.bit_wise_xor(bits, pc.shift_right(bits, _u64(31))), dtype=pl.UInt64)

    def column_below(self, counters: pl.Series, bound: int) -> pl.Series:
        """`below` for a whole UInt64 column, as Int64."""
        top = pc.shift_right(self.column(counters).to_arrow(), _u64(32))
        return pl.Series(pc.shift_right(pc.multiply(top, _u64(bound)), _u64(32))).cast(pl.Int64)


class Popularity:
    """Picks one of `count` things, the k-th in proportion to 1 / (k + 2): a few are very popular."""

    def __init__(self, count: int) -> None:
        weights = [(1 << 40) // (place + 2) for place in range(count)]
        total = sum(weights)
        ends, reached = [], 0
        for weight in weights:
            reached += weight
            ends.append(reached * (1 << 32) // total)
        self._ends = pl.Series(ends, dtype=pl.UInt64)

    def column(self, draws: pl.Series) -> pl.Series:
        """The thing that each 64-bit draw picks, as Int64."""
        top = pl.Series(pc.shift_right(draws.to_arrow(), _u64(32)), dtype=pl.UInt64)
        picked = self._ends.search_sorted(top, side="right")
        return picked.cast(pl.Int64)


def hexadecimal(draws: pl.Series) -> pl.Series:
    """16 hexadecimal digits for each 64-bit draw, least significant byte first; null stays null."""
    arrow = draws.fill_null(0).rechunk().to_arrow()
    raw = pa.FixedSizeBinaryArray.from_buffers(pa.binary(8), len(arrow), [None, arrow.buffers()[1]])
    text = pl.Series(raw.cast(pa.large_binary())).bin.encode("hex")
    return pl.select(pl.when(draws.is_not_null()).then(text)).to_series()


def hexadecimal_of_one(draw: int) -> str:
    """`hexadecimal` of one draw."""
    return draw.to_bytes(8, "little").hex()


def _u64(value: int) -> pa.Scalar:
    return pa.scalar(value, pa.uint64())
