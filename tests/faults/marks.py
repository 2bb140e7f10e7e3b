"""Find the statements that are marked as safeguards, and take a safeguard away through the syntax tree.

A comment `# safeguard: NAME` (several names: with commas) marks the statement whose line it ends, or that follows it;
`-- safeguard: NAME` marks a line of SQL. A change is a function from what is marked to the text of its file without it.
"""

from __future__ import annotations

import ast
import io
import re
import textwrap
import tokenize
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

_MARK = re.compile(r"(?:#|--) safeguard: (.+)")


@dataclass(frozen=True)
class Marked:
    """A statement of Python, or a line of SQL, that bears the name of a safeguard."""

    name: str
    path: Path
    line: int  # that the statement begins on, or one of its lines; from 1

    def text(self) -> str:
        """The file as it is."""
        return self.path.read_text(encoding="utf-8")

    def statement(self) -> ast.stmt | ast.ExceptHandler:
        """The innermost statement on its line."""
        found = [
            node
            for node in ast.walk(ast.parse(self.text()))
            if isinstance(node, ast.stmt | ast.ExceptHandler) and node.lineno <= self.line <= (node.end_lineno or 0)
        ]
        return max(found, key=lambda node: (node.lineno, node.col_offset))

    def with_replaced(self, node: ast.expr | ast.stmt | ast.ExceptHandler, code: str) -> str:
        """The text of the file with other code in the place of a node."""
        whole = self.text().encode()  # the tree counts columns in bytes
        starts = [0, *(match.end() for match in re.finditer(b"\n", whole))]
        start = starts[node.lineno - 1] + node.col_offset
        end = starts[(node.end_lineno or 0) - 1] + (node.end_col_offset or 0)
        return (whole[:start] + code.encode() + whole[end:]).decode()


Change = Callable[[Marked], str]


def marks(root: Path) -> Iterator[Marked]:
    """Every mark in the product, in the order of files and lines."""
    for path in sorted([*root.glob("pipelines/**/*.py"), *root.glob("sql/**/*.sql")]):
        text = path.read_text(encoding="utf-8")
        if " safeguard: " not in text:
            continue
        lines = text.split("\n")
        for number, comment in _comments(path, text):
            if match := _MARK.match(comment):
                line = number
                while lines[line - 1].lstrip().startswith(("#", "--")):  # on a line of its own: of the next statement
                    line += 1
                for name in match[1].split(","):
                    yield Marked(name.strip(), path, line)


def _comments(path: Path, text: str) -> Iterator[tuple[int, str]]:
    if path.suffix == ".py":
        for token in tokenize.generate_tokens(io.StringIO(text).readline):
            if token.type == tokenize.COMMENT:
                yield token.start[0], token.string
    else:
        for number, line in enumerate(text.split("\n"), 1):
            if "--" in line:
                yield number, line[line.index("--") :]


# --- the changes -----------------------------------------------------------------------------------------------------


def drop(marked: Marked) -> str:
    """Without the statement, or the line."""
    return instead("" if marked.path.suffix == ".sql" else "pass")(marked)


def never(marked: Marked) -> str:
    """With a condition that does not hold."""
    return marked.with_replaced(_condition(marked), "False")


def always(marked: Marked) -> str:
    """With a condition that holds."""
    return marked.with_replaced(_condition(marked), "True")


def _condition(marked: Marked) -> ast.expr:
    statement = marked.statement()
    assert isinstance(statement, ast.If | ast.While), f"{marked.name} marks no condition"
    return statement.test


def replace(expression: str, other: str, at: int | None = None) -> Change:
    """With another expression in the place of one, however that is laid out.

    It occurs once in the statement, or is the one at that place of several.
    """

    def change(marked: Marked) -> str:
        if marked.path.suffix == ".sql":
            line = marked.text().split("\n")[marked.line - 1]
            assert line.count(expression) == 1, f"{marked.name}: {expression!r} does not occur once"
            return instead(line.replace(expression, other))(marked)
        wanted = ast.dump(ast.parse(expression, mode="eval").body)
        found = [
            node
            for node in ast.walk(marked.statement())
            if isinstance(node, ast.expr) and node.end_lineno and ast.dump(node) == wanted
        ]
        found.sort(key=lambda node: (node.lineno, node.col_offset))
        assert at is not None or len(found) == 1, f"{marked.name}: {expression!r} occurs {len(found)} times"
        return marked.with_replaced(found[at or 0], f"({other})")

    return change


def instead(code: str) -> Change:
    """With other code in the place of the statement, which may contain it as {}."""

    def change(marked: Marked) -> str:
        if marked.path.suffix == ".sql":
            lines = marked.text().split("\n")
            lines[marked.line - 1] = code
            return "\n".join(lines)
        statement = marked.statement()
        own = ast.get_source_segment(marked.text(), statement) or ""
        margin = " " * statement.col_offset
        return marked.with_replaced(statement, textwrap.indent(code.replace("{}", own), margin).lstrip())

    return change
