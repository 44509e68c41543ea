"""Reading our options off descriptors, whatever pool they live in."""

from typing import Any, cast

from google.protobuf import message_factory
from google.protobuf.descriptor import (
    EnumValueDescriptor,
    FieldDescriptor,
    MethodDescriptor,
)
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import Message

_OPTIONS_MESSAGE: dict[type, str] = {
    FieldDescriptor: "google.protobuf.FieldOptions",
    MethodDescriptor: "google.protobuf.MethodOptions",
    EnumValueDescriptor: "google.protobuf.EnumValueOptions",
}


def options_message(
    *, pool: DescriptorPool, descriptor: FieldDescriptor | MethodDescriptor | EnumValueDescriptor
) -> Message:
    """Return the options of `descriptor`, with its extensions known to `pool`.

    `GetOptions()` answers with the default pool's class, which raises KeyError for an
    extension of a private pool; so the bytes are parsed again with the pool's own class.
    """
    kind = next(name for base, name in _OPTIONS_MESSAGE.items() if isinstance(descriptor, base))
    own_class = message_factory.GetMessageClass(pool.FindMessageTypeByName(kind))
    return own_class.FromString(descriptor.GetOptions().SerializeToString())


def extension_of(
    *,
    pool: DescriptorPool,
    descriptor: FieldDescriptor | MethodDescriptor | EnumValueDescriptor,
    name: str,
) -> Any | None:
    """Return the value of the option extension `name`, or None where it is not set.

    Repeated extensions (such as `google.api.field_behavior`) come back as their
    container, empty where nothing is set.
    """
    options = cast("Any", options_message(pool=pool, descriptor=descriptor))
    try:
        extension = pool.FindExtensionByName(name)
    except KeyError:  # no contract of this pool imports the option
        return None
    if not extension.is_repeated and not options.HasExtension(extension):
        return None
    return options.Extensions[extension]
