"""The models in Spark's SQL: sqlglot translates, and the rules here add what it does not know.

The files in sql/ are written in DuckDB's dialect, as standard as they can be. Tests have verified the functions that
the models use on both engines: `unverified_functions` names any other that a statement uses, and a test refuses that.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, timedelta
from functools import cache

import pyarrow as pa
import sqlglot
from sqlglot import exp
from sqlglot.expressions import DataType

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_DAY = date(1970, 1, 1)

# The functions of the models, by sqlglot's names: tests compare their rows on both engines, nulls and borders included.
# Others differ without a word: hash(), extract(dow), list(… order by …), months between dates, dates less intervals.
VERIFIED_FUNCTIONS = frozenset(
    {
        *("And", "Or", "Case", "If", "Coalesce", "Nullif", "Cast", "TryCast", "Greatest", "Least"),
        *("Concat", "Length", "Substring", "SHA2", "DateDiff", "UnixToTime"),
        *("Count", "Max", "Min", "Sum", "Rank", "DenseRank", "RowNumber"),
    }
)


def translate(statement: str, params: Mapping[str, object]) -> str:
    """Translate a statement of sql/ into Spark's dialect; `$name` becomes the marker `:name`, bound to
    `bind(params)`."""
    return _translated(statement, tuple(sorted((name, _made_by(value)) for name, value in params.items())))


def bind(params: Mapping[str, object]) -> dict[str, object]:
    """The values of the markers: dates as days and instants as microseconds since 1970.

    As dates of Python's they would pass through Java's old calendar, which counts other days before 1582.
    """
    return {name: _number(value) for name, value in params.items()}


def unverified_functions(statement: str) -> set[str]:
    """Return the functions of a statement that no test has compared on both engines."""
    functions = list(sqlglot.parse_one(statement, read="duckdb").find_all(exp.Func))
    return {each.sql_name().lower() for each in functions if type(each).__name__ not in VERIFIED_FUNCTIONS}


def empty_select(schema: pa.Schema) -> str:
    """Return a statement for no rows of a schema, which Spark can leave out of its plan."""
    columns = ", ".join(f"cast(null as {type_of(field.type)}) as `{field.name}`" for field in schema)
    return f"select {columns} where false"


def type_of(kind: pa.DataType) -> str:
    """A type of the lake's files as Spark writes it."""
    if isinstance(kind, pa.UuidType):
        return "binary"
    if pa.types.is_decimal(kind):
        return f"decimal({kind.precision}, {kind.scale})"
    if pa.types.is_timestamp(kind):
        return "timestamp"
    if pa.types.is_binary(kind):
        return "binary"
    if pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return "string"
    return _TYPES[kind]


_TYPES = {
    pa.string(): "string",
    pa.bool_(): "boolean",
    pa.int16(): "smallint",
    pa.int32(): "int",
    pa.int64(): "bigint",
    pa.date32(): "date",
}


@cache
def _translated(statement: str, made_by: tuple[tuple[str, str], ...]) -> str:
    tree = sqlglot.parse_one(statement, read="duckdb")
    for rule in _RULES:
        tree = tree.transform(rule)
    functions = dict(made_by)

    def marker(node: exp.Expression) -> exp.Expression:
        if not isinstance(node, exp.Parameter | exp.Placeholder):
            return node
        placeholder = exp.Placeholder(this=node.name)
        function = functions.get(node.name)
        return exp.Anonymous(this=function, expressions=[placeholder]) if function else placeholder

    return str(tree.transform(marker).sql(dialect="spark", comments=False))


def _made_by(value: object) -> str:
    """The function that makes of a number what was bound."""
    if isinstance(value, datetime):
        return "TIMESTAMP_MICROS"
    return "DATE_FROM_UNIX_DATE" if isinstance(value, date) else ""


def _number(value: object) -> object:
    if isinstance(value, datetime):
        return (value - _EPOCH) // timedelta(microseconds=1)
    return (value - _EPOCH_DAY).days if isinstance(value, date) else value


# --- what sqlglot does not know: each rule rewrites one kind of node ----------------------------------------------


def _milliseconds(node: exp.Expression) -> exp.Expression:
    """epoch_ms() of an instant. sqlglot takes it for the function of that name which goes the other way."""
    return exp.Anonymous(this="UNIX_MILLIS", expressions=[node.this]) if isinstance(node, exp.UnixToTime) else node


def _uuid(node: exp.Expression) -> exp.Expression:
    """Spark has no UUIDs: they are their 16 bytes, which have the same order."""
    if isinstance(node, exp.Cast) and node.to.this == DataType.Type.UUID:
        return exp.func("UNHEX", node.this)
    return node


def _hexadecimal(node: exp.Expression) -> exp.Expression:
    """cast('0x1f' as bigint) is DuckDB's way to read a number to the base of 16."""
    if not (isinstance(node, exp.Cast) and isinstance(node.this, exp.Concat)):
        return node
    prefix, *digits = node.this.expressions
    if not (prefix.is_string and prefix.name == "0x" and len(digits) == 1):
        return node
    number = exp.func("CONV", digits[0], exp.Literal.number(16), exp.Literal.number(10))
    return exp.cast(number, node.to)


def _wide_division(node: exp.Expression) -> exp.Expression:
    """Spark's `div` of decimals is a BIGINT, and fails where the quotient is none.

    Without its remainder the division comes out even, however few decimal places the quotient is given.
    """
    if not (isinstance(node, exp.IntDiv) and _is_wide(node)):
        return node
    above, below = exp.paren(node.this), exp.paren(node.expression)
    remainder = exp.Mod(this=above.copy(), expression=below.copy())
    even = exp.paren(exp.Sub(this=above, expression=remainder))
    return exp.cast(exp.Div(this=even, expression=below, typed=False, safe=False), "decimal(38, 0)")


def _wide(node: exp.Expression) -> exp.Expression:
    """A HUGEINT holds 38 digits; so does Spark's widest decimal."""
    if isinstance(node, DataType) and node.this == DataType.Type.INT128:
        return DataType.build("decimal(38, 0)")
    return node


def _joined(node: exp.Expression) -> exp.Expression:
    """concat() joins whatever it is given as text, in DuckDB: nulls as nothing, which sqlglot knows, and numbers."""
    if isinstance(node, exp.Concat):
        texts = [each if each.is_string else exp.cast(each, "string") for each in node.expressions]
        node.set("expressions", texts)
    return node


def _is_wide(node: exp.Expression) -> bool:
    return any(each.this == DataType.Type.INT128 for each in node.find_all(DataType))


_RULES: tuple[Callable[[exp.Expression], exp.Expression], ...] = (
    _milliseconds,
    _hexadecimal,
    _uuid,
    _wide_division,
    _wide,
    _joined,
)
