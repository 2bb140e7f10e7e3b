"""Take the quotation marks from lines of CSV that mean the same without them, so that they are split as others are."""

from __future__ import annotations

from pipelines.landing.lines import Block, as_series, has_long_line

_QUOTE, _LINE_FEED, _RETURN = b'"\n\r'


def without_quotes(block: Block, separator: bytes) -> Block | None:
    """The same lines with no cell in quotation marks; None where one has to be in them, or is not all in them.

    A cell has to be where it holds a quotation mark, the separator (one byte) or the end of a line.
    """
    data = as_series(block.data)
    quotes = (data == _QUOTE).arg_true()
    if len(quotes) % 2 or has_long_line(block.data):
        return None
    first, last = quotes.gather_every(2), quotes.gather_every(2, offset=1)
    ends_cell = (data == separator[0]) | (data == _LINE_FEED) | (data == _RETURN)
    before, after = first.filter(first > 0) - 1, last.filter(last < len(data) - 1) + 1
    if not (ends_cell.gather(before).all() and ends_cell.gather(after).all()):  # safeguard: quotes-around-whole-cells
        return None
    ends = ends_cell.arg_true()
    # safeguard: quoted-cells-hold-no-separator
    if not (ends.search_sorted(first) == ends.search_sorted(last)).all():
        return None
    return Block(block.first_line, block.data.replace(b'"', b""), block.lines)
