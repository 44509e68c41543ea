"""The checks of the contracts catch what they are for: each is shown a planted fault.

| the fault                                       | caught by           |
|-------------------------------------------------|---------------------|
| nothing                                         | nothing             |
| a field removed, renamed in JSON, or retyped    | buf breaking        |
| an RPC removed                                  | buf breaking        |
| an enum value without its prefix                | buf lint            |
| generated/ differs from protos/                 | regenerate and diff |
"""

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from google.protobuf.descriptor_pb2 import (
    FieldDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
)

ROOT = Path(__file__).parents[2]
IMAGE = ROOT / "generated" / "payments" / "contracts.binpb"
BUF = Path(sys.executable).parent / "buf"


def buf(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(BUF), *map(str, arguments), "--config", str(ROOT / "buf.yaml")],
        capture_output=True,
        text=True,
        check=False,
    )


def gateway_of(image: FileDescriptorSet) -> FileDescriptorProto:
    return next(file for file in image.file if file.name.endswith("gateway_service.proto"))


def with_change(tmp_path: Path, change: Callable[[FileDescriptorProto], None]) -> Path:
    image = FileDescriptorSet.FromString(IMAGE.read_bytes())
    change(gateway_of(image))
    path = tmp_path / "changed.binpb"
    path.write_bytes(image.SerializeToString())
    return path


def remove_field(file: FileDescriptorProto) -> None:
    del file.message_type[0].field[1]


def rename_in_json(file: FileDescriptorProto) -> None:
    file.message_type[0].field[1].json_name = "question"


def retype(file: FileDescriptorProto) -> None:
    file.message_type[0].field[1].type = FieldDescriptorProto.TYPE_BYTES


def remove_rpc(file: FileDescriptorProto) -> None:
    del file.service[0].method[2]


def nothing(_file: FileDescriptorProto) -> None:
    pass


def badly_named_value(file: FileDescriptorProto) -> None:
    file.enum_type[0].value[1].name = "DONE"


@pytest.mark.parametrize("change", [remove_field, rename_in_json, retype, remove_rpc])
def test_a_change_that_breaks_callers_is_caught(
    tmp_path: Path, change: Callable[[FileDescriptorProto], None]
) -> None:
    result = buf("breaking", with_change(tmp_path, change), "--against", IMAGE)
    assert result.returncode != 0
    assert "gateway_service.proto" in result.stdout


def test_an_unchanged_contract_breaks_nothing(tmp_path: Path) -> None:
    unchanged = with_change(tmp_path, nothing)
    assert buf("breaking", unchanged, "--against", IMAGE).returncode == 0
    assert buf("lint", unchanged).returncode == 0


def test_a_badly_named_value_is_caught(tmp_path: Path) -> None:
    result = buf("lint", with_change(tmp_path, badly_named_value))
    assert result.returncode != 0
    assert "should be prefixed" in result.stdout


def test_a_contract_changed_without_generating_is_caught(tmp_path: Path) -> None:
    """Run the same `make generate-check` on a copy whose contract differs by one comment."""
    for name in ("protos", "generated"):
        shutil.copytree(ROOT / name, tmp_path / name)
    for name in ("Makefile", "buf.yaml", "pyproject.toml", "requirements-dev.txt"):
        shutil.copy(ROOT / name, tmp_path / name)
    (tmp_path / ".venv").symlink_to(Path(sys.executable).parents[1])
    command = ["make", "-o", ".venv/.dev", "generate-check"]
    unchanged = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert unchanged.returncode == 0, unchanged.stdout + unchanged.stderr
    contract = tmp_path / "protos/payments/gateway/v1/gateway_service.proto"
    contract.write_text(contract.read_text().replace("// Who pays.", "// Who pays it."))
    changed = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert changed.returncode != 0
    assert "contracts.binpb" in changed.stdout
