"""`contracts.binpb` -> its own descriptor pool, message classes, methods and comments."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

from google.protobuf import descriptor_pb2, message_factory
from google.protobuf.descriptor import Descriptor, MethodDescriptor
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import DecodeError, Message

from chassis.descriptors import extension_of, options_message
from chassis.errors import Reasons
from chassis.rules import ContractFault, Rules

_REASONS = "payments.errors.v1.ErrorReason"
_HTTP = "google.api.http"
_METHOD_RULE = "payments.rest.v1.method_rule"
_PACKAGE = re.compile(r"payments\.([a-z][a-z0-9_]*)(\..*)?", re.ASCII)
_IDEMPOTENT = "IDEMPOTENT"

# Numbers of the members of descriptor.proto, as source_code_info spells a place.
_FILE_MESSAGE, _FILE_ENUM, _FILE_SERVICE = 4, 5, 6
_MESSAGE_FIELD, _MESSAGE_NESTED, _MESSAGE_ENUM = 2, 3, 4
_MEMBER = 2  # of a service: method; of an enum: value


@dataclass(frozen=True, kw_only=True)
class Example:
    """A worked example of a call, as the contract words it."""

    title: str
    request: str
    response: str


@dataclass(frozen=True, kw_only=True)
class Method:
    """One RPC that has a route."""

    name: str
    service: str
    target: str
    request: type[Message]
    response: type[Message]
    http: Any = field(repr=False)
    webhook: bool
    repeatable: bool
    scope: str
    reasons: Sequence[str]
    examples: Sequence[Example]

    @property
    def grpc_path(self) -> str:
        """The path of the call in HTTP/2."""
        return f"/{self.service}/{self.name}"

    @property
    def full_name(self) -> str:
        """The name of the method in the contract."""
        return f"{self.service}.{self.name}"

    @property
    def request_type(self) -> Descriptor:
        """The descriptor of the request."""
        return _descriptor_of(self.request)

    @property
    def response_type(self) -> Descriptor:
        """The descriptor of the answer."""
        return _descriptor_of(self.response)


@dataclass(frozen=True, kw_only=True)
class Contract:
    """Everything the bridge knows of the services it fronts."""

    pool: DescriptorPool
    rules: Rules
    reasons: Reasons
    methods: Sequence[Method]
    comments: Mapping[str, str]


def default_contracts_image() -> bytes:
    """Return the descriptor image that is installed with the stubs."""
    return resources.files("payments").joinpath("contracts.binpb").read_bytes()


def read_image(*, path: Path | None) -> bytes:
    """Return the descriptor image at `path`, or the installed one.

    :raises ContractFault: there is no such file.
    """
    try:
        return default_contracts_image() if path is None else path.read_bytes()
    except OSError as problem:
        raise ContractFault(f"{path or 'contracts.binpb'}: {problem.strerror}") from None


def load_contract(*, image: bytes) -> Contract:
    """Return the contract that the descriptor set `image` holds.

    :raises ContractFault: it cannot be read, or asks for what the bridge cannot do.
    """
    pool, files = _filled_pool(image)
    try:
        enum = pool.FindEnumTypeByName(_REASONS)
    except KeyError:
        raise ContractFault(f"the contracts have no enum {_REASONS}") from None
    rules = Rules(pool=pool)
    reasons = Reasons(pool=pool, enum=enum)
    methods = tuple(_methods(pool, files, reasons))
    for method in methods:
        rules.compile_all((method.request_type, method.response_type))
    return Contract(
        pool=pool,
        rules=rules,
        reasons=reasons,
        methods=methods,
        comments={name: text for file in files for name, text in _comments(file)},
    )


def _filled_pool(
    image: bytes,
) -> tuple[DescriptorPool, Sequence[descriptor_pb2.FileDescriptorProto]]:
    pool = DescriptorPool()
    try:
        files = descriptor_pb2.FileDescriptorSet.FromString(image).file
        for file in files:
            pool.AddSerializedFile(file.SerializeToString())
    except (DecodeError, TypeError) as problem:
        raise ContractFault(f"the contracts cannot be read: {problem}") from None
    return pool, files


def _methods(
    pool: DescriptorPool,
    files: Sequence[descriptor_pb2.FileDescriptorProto],
    reasons: Reasons,
) -> Iterator[Method]:
    for file in files:
        for service_name in (service.name for service in file.service):
            full_name = f"{file.package}.{service_name}" if file.package else service_name
            for descriptor in pool.FindServiceByName(full_name).methods:
                http = extension_of(pool=pool, descriptor=descriptor, name=_HTTP)
                if http is not None:
                    yield _method(pool, file.package, descriptor, http, reasons)


def _method(
    pool: DescriptorPool,
    package: str,
    descriptor: MethodDescriptor,
    http: Any,
    reasons: Reasons,
) -> Method:
    if descriptor.client_streaming or descriptor.server_streaming:
        raise ContractFault(f"{descriptor.full_name}: a streaming method cannot have a route")
    found = _PACKAGE.fullmatch(package)
    if found is None:
        raise ContractFault(
            f"{descriptor.full_name}: only packages named payments.<name> have a target"
        )
    rule = extension_of(pool=pool, descriptor=descriptor, name=_METHOD_RULE)
    options: Any = options_message(pool=pool, descriptor=descriptor)
    levels = options.DESCRIPTOR.fields_by_name["idempotency_level"].enum_type
    service = descriptor.full_name.rpartition(".")[0]
    return Method(
        name=descriptor.name,
        service=service,
        target=found[1].upper(),
        request=message_factory.GetMessageClass(descriptor.input_type),
        response=message_factory.GetMessageClass(descriptor.output_type),
        http=http,
        webhook=bool(rule and rule.webhook),
        repeatable=levels.values_by_number[options.idempotency_level].name == _IDEMPOTENT,
        scope=rule.scope if rule else "",
        reasons=_reason_names(descriptor, rule.reasons if rule else (), reasons),
        examples=tuple(
            Example(title=one.title, request=one.request, response=one.response)
            for one in (rule.examples if rule else ())
        ),
    )


def _reason_names(
    descriptor: MethodDescriptor, numbers: Sequence[int], reasons: Reasons
) -> tuple[str, ...]:
    try:
        return tuple(reasons.numbered(number).reason for number in numbers)
    except KeyError as unknown:
        raise ContractFault(f"{descriptor.full_name}: reason {unknown} has no rule") from None


def _descriptor_of(kind: type[Message]) -> Descriptor:
    descriptor: Any = kind.DESCRIPTOR
    return descriptor  # type: ignore[no-any-return] # the stubs name two kinds of descriptor


def _comments(file: descriptor_pb2.FileDescriptorProto) -> Iterator[tuple[str, str]]:
    """Walk the leading comments of a file by the full name of what they stand before."""
    texts = {
        tuple(place.path): _unwrapped(place.leading_comments)
        for place in file.source_code_info.location
        if place.leading_comments
    }
    for path, name in _named_places(file):
        if path in texts:
            yield name, texts[path]


def _named_places(
    file: descriptor_pb2.FileDescriptorProto,
) -> Iterator[tuple[tuple[int, ...], str]]:
    for index, service in enumerate(file.service):
        name = f"{file.package}.{service.name}"
        yield (_FILE_SERVICE, index), name
        for number, method in enumerate(service.method):
            yield (_FILE_SERVICE, index, _MEMBER, number), f"{name}.{method.name}"
    for index, enum in enumerate(file.enum_type):
        yield from _enum_places((_FILE_ENUM, index), file.package, enum)
    for index, message in enumerate(file.message_type):
        yield from _message_places((_FILE_MESSAGE, index), file.package, message)


def _message_places(
    path: tuple[int, ...], scope: str, message: descriptor_pb2.DescriptorProto
) -> Iterator[tuple[tuple[int, ...], str]]:
    name = f"{scope}.{message.name}"
    yield path, name
    for index, member in enumerate(message.field):
        yield (*path, _MESSAGE_FIELD, index), f"{name}.{member.name}"
    for index, enum in enumerate(message.enum_type):
        yield from _enum_places((*path, _MESSAGE_ENUM, index), name, enum)
    for index, nested in enumerate(message.nested_type):
        yield from _message_places((*path, _MESSAGE_NESTED, index), name, nested)


def _enum_places(
    path: tuple[int, ...], scope: str, enum: descriptor_pb2.EnumDescriptorProto
) -> Iterator[tuple[tuple[int, ...], str]]:
    name = f"{scope}.{enum.name}"
    yield path, name
    for index, value in enumerate(enum.value):
        yield (*path, _MEMBER, index), f"{name}.{value.name}"


def _unwrapped(comment: str) -> str:
    """Join the lines of a paragraph; an empty line still parts two paragraphs."""
    paragraphs = re.split(r"\n\s*\n", comment.strip())
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)
