"""From plain values to the schema's dataclasses, with errors that name the key and the nearest right one."""

import contextlib
import dataclasses
import math
import types
import typing
from typing import Any, Literal, TypeVar, Union

from distill.config.rules import check
from distill.config.schema import Config
from distill.errors import UserError, nearest

C = TypeVar("C")

YAML_WORDS = "; YAML reads yes, no, on, off, true, false and null as no text: write 'no', with quotes"


def build_config(values: dict[str, Any]) -> Config:
    """A whole recipe as its dataclasses. Raises UserError for an unknown key, choice or type, and for values that
    contradict each other."""
    config = build(Config, values, "")
    check(config)
    return config


def build(kind: type[C], values: Any, where: str) -> C:
    """``values`` as the dataclass ``kind``; ``where`` is the path of keys that leads there, for the message."""
    return typing.cast(C, _convert(kind, values, where))


def _convert(kind: Any, value: Any, where: str) -> Any:
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if dataclasses.is_dataclass(kind):
        return _dataclass(typing.cast(Any, kind), value, where)
    if origin in (Union, types.UnionType):
        if value is None and type(None) in arguments:
            return None
        choices = [a for a in arguments if a is not type(None)]
        if len(choices) == 1:
            return _convert(choices[0], value, where)
        return _choice(choices, value, where)
    if origin is Literal:
        if value not in arguments or isinstance(value, bool):
            raise UserError(f"{where} is {value!r}{nearest(str(value), map(str, arguments))}")
        return value
    if origin is tuple:
        items = value if isinstance(value, (list, tuple)) else [value]
        if arguments[-1] is not Ellipsis and len(items) != len(arguments):
            raise UserError(f"{where} is {value!r}; expected {len(arguments)} values in brackets")
        return tuple(_convert(arguments[0], item, f"{where}[{i}]") for i, item in enumerate(items))
    if origin is dict:
        if not isinstance(value, dict):
            raise UserError(f"{where} is {value!r}; expected a mapping such as {{a: b}}")
        for key in value:
            if isinstance(key, bool) or key is None:
                raise UserError(f"{where} has the key {key!r}{YAML_WORDS}")
        return {str(k): _convert(arguments[1], v, f"{where}.{k}") for k, v in value.items()}
    return _scalar(kind, value, where)


def _scalar(kind: type, value: Any, where: str) -> Any:
    if kind is float and isinstance(value, (int, str)) and not isinstance(value, bool):  # YAML reads 5e-5 as a text
        with contextlib.suppress(ValueError, OverflowError):
            value = float(value)
    if kind is float and isinstance(value, float) and math.isnan(value):
        raise UserError(f"{where} is {value}; expected a number")
    if kind is str and isinstance(value, (int, float)) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        names = {int: "a whole number", float: "a number", str: "a text", bool: "true or false"}
        word = YAML_WORDS if kind is str and isinstance(value, bool) else ""
        raise UserError(f"{where} is {value!r}; expected {names.get(kind, kind.__name__)}{word}")
    return value


def _choice(choices: list[Any], value: Any, where: str) -> Any:
    """The dataclass among ``choices`` whose ``name`` is the value's."""
    by_name = {typing.get_args(typing.get_type_hints(c)["name"])[0]: c for c in choices}
    if not isinstance(value, dict) or "name" not in value:
        raise UserError(f"{where} is {value!r}; expected a mapping with a name, one of {', '.join(by_name)}")
    if not isinstance(value["name"], str) or value["name"] not in by_name:
        raise UserError(f"{where}.name is {value['name']!r}{nearest(str(value['name']), by_name)}")
    return _dataclass(by_name[value["name"]], value, where)


def _dataclass(kind: Any, value: Any, where: str, default: Any = dataclasses.MISSING) -> Any:
    """What ``value`` does not say is as in ``default``, where the field that it stands for has one."""
    if not isinstance(value, dict):
        raise UserError(f"{where or 'the recipe'} is {value!r}; expected a mapping")
    hints = typing.get_type_hints(kind)
    for key in value:
        if key not in hints:
            path = f"{where}.{key}" if where else str(key)
            raise UserError(f"unknown key '{path}'{nearest(str(key), hints)}")
    found = {}
    for field in dataclasses.fields(kind):
        path = f"{where}.{field.name}" if where else field.name
        required = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        if field.name not in value:
            if required and default is dataclasses.MISSING:
                raise UserError(f"'{path}' is missing; set it in the recipe")
            continue
        if hints[field.name] is type(field.default) and dataclasses.is_dataclass(field.default):
            found[field.name] = _dataclass(hints[field.name], value[field.name], path, field.default)
        else:
            found[field.name] = _convert(hints[field.name], value[field.name], path)
    return kind(**found) if default is dataclasses.MISSING else dataclasses.replace(default, **found)
