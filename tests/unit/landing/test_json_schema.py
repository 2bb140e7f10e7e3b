"""The published contract says of every record what the reader says, as a validator that is not ours understands it."""

from __future__ import annotations

import json
from collections import Counter
from importlib import resources
from random import Random
from typing import Any

import jsonschema
import oracle
import pytest
from faults.hostile_files import hostile_lines
from faults.mutations import mutated, writer
from open_data_contract_standard.model import OpenDataContractStandard

from pipelines.landing import json_schema
from pipelines.landing.records import FRACTION_AS_TEXT, Acceptor
from pipelines.landing.schema import ENDED_BEFORE_STARTED, ENTITIES, REFUND_TOO_LARGE, landed_fields
from pipelines.landing.values import NOT_AN_INSTANT, NOT_AN_INTEGER, OUT_OF_RANGE, TOO_DEEP, TOO_FINE_MONEY, Rejected

# Why a record that the schema allows may be rejected: JSON Schema cannot say it.
BEYOND = {
    ENDED_BEFORE_STARTED,
    REFUND_TOO_LARGE,
    NOT_AN_INSTANT,  # 29 February of a year that has none, a leap second at another time than midnight
    OUT_OF_RANGE,
    TOO_DEEP,
    TOO_FINE_MONEY,
    "the key is given twice",
    "a number is too long",
    "half a surrogate pair is not a character",
    NOT_AN_INTEGER,  # 1e2, which JSON Schema takes for one
    FRACTION_AS_TEXT,  # 5.0, likewise
    "expected true or false, got a number with a fraction or an exponent",  # 1.0, likewise
    "not an integer from 0 to 2^63-1",  # as a text
}
OF_WRAPPED = {"not a value of MongoDB Extended JSON", "the amount is negative", "the amount is not below 10^12"}


def lines(entity: str) -> list[bytes]:
    """Good lines of every spelling, mutated ones, and those of the attack on the input."""
    draw = Random(f"schema {entity}")
    write = writer(draw, entity)
    good = [write(number) for number in range(300)]
    return [line.encode() for line in good] + [mutated(draw, line, good) for line in good * 2] + hostile_lines(entity)


@pytest.mark.parametrize("entity", ENTITIES)
def test_the_schema_agrees_with_the_reader(entity: str) -> None:
    validator = jsonschema.Draft202012Validator(json_schema.json_schema(entity))
    validator.check_schema(validator.schema)
    seen: Counter[str] = Counter()
    for line in lines(entity):
        try:
            text = line.decode()
            value = json.loads(text, parse_constant=_refuse)
        except (ValueError, RecursionError):
            continue  # no JSON, of which a schema says nothing
        if entity == "lls_streams" and isinstance(value, dict) and "streams" in value:
            continue  # a response; the schema is that of one of its records
        reason = _reason(entity, text)
        is_valid = validator.is_valid(value)
        seen[f"{reason is None} {is_valid}"] += 1
        if reason is None:
            assert is_valid, (text[:300], [error.message for error in validator.iter_errors(value)][:3])
        elif is_valid:
            assert reason in BEYOND or ('{"$' in text.replace(" ", "") and reason in OF_WRAPPED), (reason, text[:300])
    assert min(seen["True True"], seen["False False"]) > 50, seen


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def _reason(entity: str, text: str) -> str | None:
    try:
        Acceptor(entity).accept_json(text)
    except Rejected as rejected:
        return rejected.reason
    return None


def test_one_document_holds_the_schemas_of_all_entities() -> None:
    document = json_schema.json_schema()
    jsonschema.Draft202012Validator.check_schema(document)
    for entity in ENTITIES:
        validator = jsonschema.Draft202012Validator({**document, "$ref": f"#/$defs/{entity}"})
        assert validator.is_valid(json.loads(writer(Random(1), entity)(1)))
        assert not validator.is_valid({})


@pytest.mark.parametrize("entity", [None, *ENTITIES])
def test_the_data_contract_is_one_by_the_standard(entity: str | None) -> None:
    """By the standard's own JSON Schema and by the classes of its own package."""
    contract: dict[str, Any] = json_schema.data_contract(entity)
    standard = json.loads((resources.files("open_data_contract_standard") / "schema.json").read_text())
    jsonschema.Draft201909Validator(standard).validate(contract)
    read = OpenDataContractStandard.model_validate(contract)
    assert [each.name for each in read.schema_ or ()] == ([entity] if entity else list(ENTITIES))
    for each in read.schema_ or ():
        keys = sorted((prop.primaryKeyPosition, prop.name) for prop in each.properties or () if prop.primaryKey)
        assert tuple(name for _, name in keys) == oracle.KEYS[each.name or ""]


def test_markdown_names_every_field() -> None:
    for entity in ENTITIES:
        table = "\n".join(json_schema.markdown(entity))
        assert all(f"| `{field.name}` |" in table for field in landed_fields(entity))
