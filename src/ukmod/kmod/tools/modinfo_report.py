"""How modinfo shows a module: kmod's text, to the byte, or JSON."""

from __future__ import annotations

from functools import lru_cache

from ukmod.kmod.modinfo import PARAMETER_KEYS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from ukmod.kmod.modinfo import ModuleInfo, Parameter

__all__ = ["as_object", "heading", "json_text", "text"]


def heading(name: str, path: str | None, field: str | None, separator: str) -> str:
    """Return what comes first, before the module's file is looked at; ``path`` None stands for built in."""
    lines: list[str] = []
    if path is None and field in (None, "name"):
        lines.append(_label("name") + name if field is None else name)
    if field in (None, "filename"):
        filename = "(builtin)" if path is None else path
        lines.append(_label("filename") + filename if field is None else filename)
    return "".join([line + separator for line in lines])


def text(info: ModuleInfo, field: str | None, separator: str) -> str:
    """Return the module's own fields, or the values of one.

    kmod ends them with ``separator``, but with NUL it also writes ``key=value``, except where it does not:
    the heading and the parameters keep their padding.
    """
    if field is None:
        label = "{}=".format if separator == "\0" else _label
        lines = [label(key) + value for key, value in info.listing() if key not in PARAMETER_KEYS]
        # kmod builds a list from its head: the last parameter comes first.
        lines += [_label("parm") + _parameter(one) for one in reversed(info.parameters)]
    elif field == "parm":
        lines = [_parameter(one, alone=" ") for one in reversed(info.parameters)]
    elif field == "build-id":
        lines = [info.build_id.hex(":").upper()] if info.build_id else []
    else:
        lines = [value for key, value in info.listing() if key == field]
    return separator.join([*lines, ""])


def as_object(info: ModuleInfo, field: str | None) -> dict[str, object]:
    """Return what ``--json`` shows of a module: everything, or name, filename and the values of one field."""
    start: dict[str, object] = {"name": info.name, "filename": info.path, "builtin": info.path is None}
    if field == "filename":
        return start
    if field == "parm":
        return start | {"parameters": _parameters(info)}
    if field is not None:
        values = [value for key, value in info.listing() if key == field]
        return start | {"fields": {field: values}}
    fields: dict[str, list[str]] = {}
    for key, value in info.fields:
        if key not in PARAMETER_KEYS:
            fields.setdefault(key, []).append(value)
    signature = info.signature
    return start | {
        "fields": fields,
        "depends": list(info.depends),
        "parameters": _parameters(info),
        "build_id": info.build_id.hex() or None,
        "signature": None
        if signature is None
        else {
            "id_type": signature.id_type,
            "signer": signature.signer,
            "key_id": signature.key_id.hex(),
            "hash_algorithm": signature.hash_algorithm,
            "signature": signature.signature.hex(),
        },
    }


def json_text(objects: Iterable[dict[str, object]]) -> str:
    """Return the objects as a JSON array. Bytes that are not UTF-8 appear as lone surrogates, escaped."""
    import json

    return json.dumps(list(objects), indent=2) + "\n"


@lru_cache(maxsize=64)
def _label(key: str) -> str:
    return f"{key + ':':16}"


def _parameter(parameter: Parameter, alone: str = "") -> str:
    """Return ``name:description (type)``; ``alone`` changes how a type without description is set off."""
    if parameter.description is None:
        kind = f"({parameter.type})" if alone else parameter.type
        return f"{parameter.name}:{alone}{kind}"
    kind = "" if parameter.type is None else f" ({parameter.type})"
    return f"{parameter.name}:{parameter.description}{kind}"


def _parameters(info: ModuleInfo) -> list[dict[str, str | None]]:
    return [{"name": one.name, "type": one.type, "description": one.description} for one in info.parameters]
