"""Small contracts compiled inside a test, beside the real ones."""

import tempfile
from importlib import resources
from pathlib import Path

from google.api import annotations_pb2
from google.protobuf import descriptor_pb2
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_tools import protoc

from rest_bridge.contract import default_contracts_image

_PROTOS = Path(__file__).parents[2] / "protos"
_GOOGLE_APIS = Path(annotations_pb2.__file__).parents[2]
_HEAD = """
syntax = "proto3";
package {package};
import "google/api/annotations.proto";
import "google/api/field_behavior.proto";
import "google/protobuf/timestamp.proto";
import "google/type/date.proto";
import "google/type/decimal.proto";
import "google/type/money.proto";
import "payments/rest/v1/rest.proto";
"""


def compile_contract(*, source: str, package: str = "payments.demo.v1") -> bytes:
    """Return the descriptor image of `source` in `package`, with imports and comments."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, *package.split("."), "demo.proto")
        path.parent.mkdir(parents=True)
        path.write_text(_HEAD.format(package=package) + source, encoding="utf-8")
        image = Path(folder, "image.binpb")
        failed = protoc.main(
            [
                "protoc",
                f"-I{folder}",
                f"-I{_PROTOS}",
                f"-I{_GOOGLE_APIS}",
                f"-I{resources.files('grpc_tools') / '_proto'}",
                f"--descriptor_set_out={image}",
                "--include_imports",
                "--include_source_info",
                str(path),
            ]
        )
        assert not failed, "protoc refused the source"
        return image.read_bytes()


def with_real_contracts(*, image: bytes) -> bytes:
    """Return the installed contracts and, after them, what `image` adds."""
    merged = descriptor_pb2.FileDescriptorSet.FromString(default_contracts_image())
    known = {file.name for file in merged.file}
    added = descriptor_pb2.FileDescriptorSet.FromString(image)
    merged.file.extend(file for file in added.file if file.name not in known)
    return merged.SerializeToString()


def pool_of(*, image: bytes) -> DescriptorPool:
    """Return a private pool that holds every file of `image`."""
    pool = DescriptorPool()
    for file in descriptor_pb2.FileDescriptorSet.FromString(image).file:
        pool.AddSerializedFile(file.SerializeToString())
    return pool
