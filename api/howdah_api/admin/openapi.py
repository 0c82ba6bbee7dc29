"""The OpenAPI document of a service: how its public handlers are called over the ingress. Pure.

The handlers' JSON schemas come as they were registered, each with definitions of its own; here they
become the document's components, because tools look for them there only.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import unquote

from howdah.store.catalog import Handler, Service

_DEFINITION: Final = "#/$defs/"
_SCHEMAS: Final = "#/components/schemas/"
_NO_COMPONENT_NAME = re.compile(r"[^A-Za-z0-9._-]")

Json = dict[str, Any]


def openapi_document(service: Service, ingress_url: str) -> Json:
    """The document, version 3.1.0.

    Args:
        service: With its handlers; private ones are left out.
        ingress_url: Where its paths are; left out when empty.
    """
    schemas = Components()
    schemas.add("RestateError", _ERROR)
    paths: Json = {}
    operation_ids: set[str] = set()
    for handler in service.handlers:
        if not handler.is_public:
            continue
        for path, method, operation in _operations(service, handler, schemas):
            while operation["operationId"] in operation_ids:
                operation["operationId"] += "_"
            operation_ids.add(operation["operationId"])
            paths[path] = {method: operation}
    info = {"title": service.name, "version": str(service.revision)}
    if service.description is not None:
        info["description"] = service.description
    document: Json = {"openapi": "3.1.0", "info": info}
    if ingress_url:
        document["servers"] = [{"url": ingress_url}]
    return {
        **document,
        "tags": [{"name": service.name}],
        "paths": paths,
        "components": {
            "parameters": _PARAMETERS,
            "responses": _RESPONSES,
            "schemas": schemas.by_name,
        },
    }


class Components:
    """The schemas of one document, by name.

    Attributes:
        by_name: As they stand in the document.
    """

    def __init__(self) -> None:
        self.by_name: Json = {}
        self._given: dict[str, str] = {}

    def add(self, name: str, schema: Json) -> Json:
        """Add a schema and what it defines; returns the reference to it."""
        definitions: Json = schema.get("$defs", {})
        name = self._place(name, f"{name}_", json.dumps(schema, sort_keys=True))
        names = {}
        for definition in definitions:
            needed = {x: definitions[x] for x in _reachable(definition, definitions)}
            identity = json.dumps([definition, needed], sort_keys=True)
            wanted = _NO_COMPONENT_NAME.sub("_", definition)
            names[definition] = self._place(wanted, f"{name}_{wanted}", identity)
        for definition, placed in names.items():
            self.by_name[placed] = _relocated(definitions[definition], names, name)
        own = {key: value for key, value in schema.items() if key != "$defs"}
        self.by_name[name] = _relocated(own, names, name)
        return {"$ref": _SCHEMAS + name}

    def _place(self, wanted: str, otherwise: str, identity: str) -> str:
        # The same definition, with all that it refers to, is there once.
        name = wanted
        while self._given.setdefault(name, identity) != identity:
            name = otherwise if name == wanted else f"{name}_"
        return name


def _reachable(name: str, definitions: Json) -> list[str]:
    found = [name]
    for one in found:
        text = json.dumps(definitions[one])
        found += [x for x in definitions if x not in found and _mentions(text, x)]
    return found


def _mentions(text: str, name: str) -> bool:
    return _DEFINITION + name in unquote(text)


def _relocated(schema: Any, names: Mapping[str, str], root: str) -> Any:
    """The schema with its references, and those of discriminators, pointing to components."""
    if isinstance(schema, list):
        return [_relocated(item, names, root) for item in schema]
    if not isinstance(schema, dict):
        return schema
    relocated: Json = {}
    for key, value in schema.items():
        if key == "$ref" and isinstance(value, str):
            relocated[key] = _reference(value, names, root)
        elif key == "mapping" and isinstance(value, dict):
            relocated[key] = {
                word: _reference(target, names, root)
                if isinstance(target, str)
                else _relocated(target, names, root)
                for word, target in value.items()
            }
        else:
            relocated[key] = _relocated(value, names, root)
    return relocated


def _reference(target: str, names: Mapping[str, str], root: str) -> str:
    if target == "#":
        return _SCHEMAS + root
    name = unquote(target.removeprefix(_DEFINITION)).replace("~1", "/").replace("~0", "~")
    if target.startswith(_DEFINITION) and name in names:
        return _SCHEMAS + names[name]
    return target


def _operations(
    service: Service, handler: Handler, schemas: Components
) -> list[tuple[str, str, Json]]:
    name, is_workflow = handler.name, service.kind == "workflow"
    target = (
        f"{service.name}/{name}" if service.kind == "service" else f"{service.name}/{{key}}/{name}"
    )
    key = [] if service.kind == "service" else [_parameter("key")]
    common: Json = {"tags": [service.name]}
    if handler.description is not None:
        common["description"] = handler.description
    asked: Json = {}
    if handler.input_content_type is not None:
        schema = _schema(f"{name}Request", handler.input_schema, schemas)
        asked["requestBody"] = {
            "content": {handler.input_content_type: {"schema": schema}},
            "required": handler.input_required,
        }
    result: Json = {"description": "The handler's result"}
    if handler.output_content_type is not None:
        schema = _schema(f"{name}Response", handler.output_schema, schemas)
        result["content"] = {handler.output_content_type: {"schema": schema}}
    idempotency = [] if is_workflow else [_parameter("idempotencyKeyHeader")]
    failed = {"default": _response("GenericError")}
    operations = [
        (
            f"/restate/call/{target}",
            "post",
            {
                **common,
                "operationId": name,
                "summary": f"Call {name} and wait for its result",
                "parameters": [*key, *idempotency],
                **asked,
                "responses": {"200": result, **failed},
            },
        ),
        (
            f"/restate/send/{target}",
            "post",
            {
                **common,
                "operationId": f"{name}Send",
                "summary": f"Send to {name} and do not wait",
                "parameters": [*key, _parameter("delay"), *idempotency],
                **asked,
                "responses": {"200": _response("Send"), "202": _response("Send"), **failed},
            },
        ),
    ]
    if handler.kind == "workflow":
        results, found_by = f"/restate/workflow/{service.name}/{{key}}", key
    elif is_workflow:
        return operations
    else:
        results = f"/restate/invocation/{target}/{{idempotencyKey}}"
        found_by = [*key, _parameter("idempotencyKeyPath")]
    found = {"200": result, "404": _response("InvocationNotFoundError")}
    for verb, what, more in (
        ("attach", "Wait for the result of an invocation that exists", {}),
        ("output", "The result, if it is there", {"470": _response("InvocationNotReadyError")}),
    ):
        operation = {
            **common,
            "operationId": name + verb.capitalize(),
            "summary": what,
            "parameters": found_by,
            "responses": {**found, **more, **failed},
        }
        operations.append((f"{results}/{verb}", "get", operation))
    return operations


def _schema(name: str, schema: Any, schemas: Components) -> Json:
    return schemas.add(name, schema) if isinstance(schema, dict) else {}


def _parameter(name: str) -> Json:
    return {"$ref": f"#/components/parameters/{name}"}


def _response(name: str) -> Json:
    return {"$ref": f"#/components/responses/{name}"}


_TEXT: Final[Json] = {"type": "string"}
_ERROR: Final[Json] = {
    "type": "object",
    "title": "RestateError",
    "description": "Why a request failed",
    "properties": {
        "code": {"type": "integer", "description": "The status"},
        "message": _TEXT,
        "source": {
            "type": "string",
            "enum": ["ingress", "invocation"],
            "description": "Who failed: the request, or what it asked for",
        },
        "metadata": {"type": "object", "additionalProperties": _TEXT},
    },
    "required": ["message", "source"],
}
_PARAMETERS: Final[Json] = {
    "delay": {
        "name": "delay",
        "in": "query",
        "required": False,
        "schema": _TEXT,
        "description": "When to begin, from now on: 10s, 1m 30s, 100ms, or ISO 8601, PT60S",
    },
    "idempotencyKeyHeader": {
        "name": "idempotency-key",
        "in": "header",
        "required": False,
        "schema": _TEXT,
        "description": "Requests with the same one are one invocation",
    },
    "idempotencyKeyPath": {
        "name": "idempotencyKey",
        "in": "path",
        "required": True,
        "schema": _TEXT,
        "description": "The idempotency key of the request",
    },
    "key": {
        "name": "key",
        "in": "path",
        "required": True,
        "schema": _TEXT,
        "description": "The key, percent-encoded",
    },
}
_FAILED: Final[Json] = {"application/json": {"schema": {"$ref": f"{_SCHEMAS}RestateError"}}}
_RESPONSES: Final[Json] = {
    "GenericError": {"description": "The request or the invocation failed", "content": _FAILED},
    "InvocationNotFoundError": {"description": "There is no such invocation", "content": _FAILED},
    "InvocationNotReadyError": {"description": "It is not completed yet", "content": _FAILED},
    "Send": {
        "description": "The invocation is accepted",
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "properties": {
                        "invocationId": _TEXT,
                        "status": {"type": "string", "enum": ["Accepted", "PreviouslyAccepted"]},
                        "executionTime": {"type": "string", "format": "date-time"},
                    },
                    "required": ["invocationId", "status"],
                }
            }
        },
    },
}
