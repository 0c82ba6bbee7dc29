"""Manifests: what is read, and what is refused."""

import json
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from howdah.remote.manifest import Manifest, ManifestError, Service, read_manifest

SECOND = timedelta(seconds=1)


def manifest(*services: dict[str, Any], **fields: Any) -> bytes:
    document = {
        "protocolMode": "BIDI_STREAM",
        "minProtocolVersion": 5,
        "maxProtocolVersion": 7,
        "services": list(services),
        **fields,
    }
    return json.dumps(document).encode()


def service(*handlers: dict[str, Any], ty: str = "SERVICE", **fields: Any) -> dict[str, Any]:
    return {"name": "Greeter", "ty": ty, "handlers": list(handlers), **fields}


def read(*services: dict[str, Any], **fields: Any) -> Manifest:
    return read_manifest(manifest(*services, **fields))[0]


def refusal(*services: dict[str, Any], **fields: Any) -> str:
    with pytest.raises(ManifestError) as caught:
        read(*services, **fields)
    return str(caught.value)


def read_one(*handlers: dict[str, Any], ty: str = "SERVICE", **fields: Any) -> Service:
    return read(service(*handlers, ty=ty, **fields)).services[0]


def test_all_of_version_4_is_read() -> None:
    options: dict[str, Any] = {
        "documentation": "Greets.",
        "metadata": {"team": "a"},
        "inactivityTimeout": 1000,
        "abortTimeout": 2000,
        "journalRetention": 3000,
        "idempotencyRetention": 4000,
        "enableLazyState": True,
        "ingressPrivate": True,
        "retryPolicyInitialInterval": 10,
        "retryPolicyMaxInterval": 20,
        "retryPolicyMaxAttempts": 3,
        "retryPolicyExponentiationFactor": 1.5,
        "retryPolicyOnMaxAttempts": "KILL",
    }
    handler = {
        "name": "greet",
        "input": {"required": True, "contentType": "*/*", "jsonSchema": {"type": "string"}},
        "output": {"contentType": "a/b", "setContentTypeIfEmpty": True, "jsonSchema": True},
        **options,
    }
    found = read(service(handler, **options), lambdaCompression="zstd")

    said = found.services[0].options_of(found.services[0].handlers[0])
    assert (said.inactivity_timeout, said.abort_timeout) == (SECOND, 2 * SECOND)
    assert (said.journal_retention, said.idempotency_retention) == (3 * SECOND, 4 * SECOND)
    assert (said.enable_lazy_state, said.ingress_private) == (True, True)
    assert said.invocation_retry_policy is not None
    policy = said.invocation_retry_policy.resolve()
    assert (policy.initial_interval, policy.max_interval) == (SECOND / 100, SECOND / 50)
    assert (policy.max_attempts, policy.exponentiation_factor) == (3, 1.5)
    assert policy.on_max_attempts == "kill"
    assert found.lambda_compression == "zstd"
    read_in, read_out = found.services[0].handlers[0].input, found.services[0].handlers[0].output
    assert read_in is not None
    assert read_in.required
    assert read_out is not None
    assert read_out.set_content_type_if_empty


def test_a_handler_inherits_from_its_service() -> None:
    one = read_one(
        {"name": "a", "abortTimeout": 5000, "retryPolicyMaxAttempts": 2},
        {"name": "b"},
        abortTimeout=1000,
        inactivityTimeout=2000,
        retryPolicyInitialInterval=10,
    )
    own, inherited = (one.options_of(handler) for handler in one.handlers)

    assert (own.abort_timeout, inherited.abort_timeout) == (5 * SECOND, SECOND)
    assert own.inactivity_timeout == inherited.inactivity_timeout == 2 * SECOND
    assert own.invocation_retry_policy is not None
    assert own.invocation_retry_policy.initial_interval == SECOND / 100
    assert own.invocation_retry_policy.max_attempts == 2


@pytest.mark.parametrize(
    ("ty", "handler_ty", "kind"),
    [
        ("SERVICE", None, "stateless"),
        ("SERVICE", "SHARED", "stateless"),
        ("VIRTUAL_OBJECT", None, "exclusive"),
        ("VIRTUAL_OBJECT", "EXCLUSIVE", "exclusive"),
        ("VIRTUAL_OBJECT", "SHARED", "shared"),
        ("WORKFLOW", None, "shared"),
        ("WORKFLOW", "SHARED", "shared"),
        ("WORKFLOW", "WORKFLOW", "workflow"),
    ],
)
def test_the_kind_of_a_handler_follows_from_both_types(
    ty: str, handler_ty: str | None, kind: str
) -> None:
    handlers = [{"name": "a", "ty": handler_ty}]
    if ty == "WORKFLOW" and handler_ty != "WORKFLOW":
        handlers.append({"name": "run", "ty": "WORKFLOW"})
    one = read_one(*handlers, ty=ty)

    assert one.kind_of(one.handlers[0]) == kind


def test_absent_empty_and_given_inputs_are_told_apart() -> None:
    one = read_one(
        {"name": "a"}, {"name": "b", "input": {}}, {"name": "c", "input": {"required": False}}
    )
    absent, empty, given_one = (handler.input for handler in one.handlers)

    assert absent is None
    assert empty is not None
    assert empty.is_nothing
    assert given_one is not None
    assert not given_one.is_nothing


def test_each_service_comes_as_a_document_too() -> None:
    services = [service({"name": "a"}), {**service(), "name": "Other"}]
    _, documents = read_manifest(manifest(*services))

    assert [json.loads(document) for document in documents] == services


HANDLER = {"name": "a"}
MAIN = {"name": "run", "ty": "WORKFLOW"}


@pytest.mark.parametrize(
    ("services", "problem"),
    [
        ([service(HANDLER, name="")], "cannot be the name of a service"),
        ([service(HANDLER, name="a b")], "cannot be the name of a service"),
        ([service(HANDLER, name="_")], "cannot be the name of a service"),
        ([service(HANDLER, name="a\n")], "cannot be the name of a service"),
        ([service(HANDLER, name="\u00e4")], "cannot be the name of a service"),
        ([service(HANDLER, name="a" * 300)], "cannot be the name of a service"),
        ([service({"name": "a.b"})], "cannot be the name of a handler"),
        ([service({"name": "a/b"})], "cannot be the name of a handler"),
        ([service(HANDLER), service(HANDLER)], "two services named Greeter"),
        ([service(HANDLER, HANDLER)], "two handlers named a"),
        ([service({"name": "a", "ty": "EXCLUSIVE"})], "cannot be EXCLUSIVE in a SERVICE"),
        ([service(MAIN, ty="VIRTUAL_OBJECT")], "cannot be WORKFLOW in a VIRTUAL_OBJECT"),
        ([service(HANDLER, ty="WORKFLOW")], "exactly one handler of type WORKFLOW"),
        ([service(MAIN, {**MAIN, "name": "b"}, ty="WORKFLOW")], "exactly one handler"),
        ([service({**HANDLER, "ingressPrivate": False}, ingressPrivate=True)], "cannot be public"),
        ([service({**HANDLER, "workflowCompletionRetention": 1})], "but is no workflow"),
        (
            [service({**MAIN, "idempotencyRetention": 1}, ty="WORKFLOW")],
            "has no idempotencyRetention",
        ),
        ([service({**HANDLER, "input": {"jsonSchema": 3}})], "neither an object"),
        (
            [service({**HANDLER, "output": {"jsonSchema": {"a": [{"$ref": "http://x"}]}}})],
            "refers to another document",
        ),
        ([service({**HANDLER, "input": {"contentType": "a\nb"}})], "contentType that is none"),
        ([service({**HANDLER, "abortTimeout": -1})], "abort_timeout"),
        ([service({**HANDLER, "abortTimeout": 1 << 60})], "abort_timeout"),
        ([service({**HANDLER, "abortTimeout": 1.5})], "cannot be read"),
        ([service({**HANDLER, "abortTimeout": "1s"})], "cannot be read"),
        ([service({**HANDLER, "retryPolicyExponentiationFactor": 0.5})], "factor"),
        ([service({**HANDLER, "retryPolicyOnMaxAttempts": "STOP"})], "cannot be read"),
        ([service({**HANDLER, "shiny": True})], "unknown field `shiny`"),
        ([service(HANDLER, documentation="a\0b")], "NUL"),
        ([service(HANDLER, ty="DAEMON")], "cannot be read"),
    ],
)
def test_what_cannot_be_is_refused(services: list[dict[str, Any]], problem: str) -> None:
    assert problem in refusal(*services)


@pytest.mark.parametrize("name", ["restateX", "RESTATE", "openapi", "OpenAPI", "howdah_a"])
def test_reserved_names_are_told_apart(name: str) -> None:
    with pytest.raises(ManifestError) as caught:
        read(service(HANDLER, name=name))

    assert caught.value.is_reserved_name


def test_no_attempts_are_one() -> None:
    one = read_one({"name": "a", "retryPolicyMaxAttempts": 0})
    policy = one.options_of(one.handlers[0]).invocation_retry_policy

    assert policy is not None
    assert policy.resolve().max_attempts == 1


def test_a_schema_may_refer_to_itself() -> None:
    schema = {"$ref": "#/$defs/a", "$defs": {"a": {"properties": {"$ref": {"type": "string"}}}}}
    assert read_one({"name": "a", "input": {"jsonSchema": schema}}).name == "Greeter"


@pytest.mark.parametrize("body", [b"", b"[]", b"null", b"{}", b"{" * 100_000, b"[" * 100_000])
def test_what_is_no_manifest_is_refused(body: bytes) -> None:
    with pytest.raises(ManifestError, match="cannot be read"):
        read_manifest(body)


def test_the_mode_must_be_said() -> None:
    assert "protocolMode" in refusal(protocolMode=None)


@given(st.binary(max_size=300))
def test_noise_is_refused(body: bytes) -> None:
    with pytest.raises(ManifestError):
        read_manifest(body)
