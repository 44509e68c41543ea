"""What runs where: each container of the compose file and of the manifests, as one kind of row."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from amk_sandbox.settings import read_settings as read_sandbox
from chassis.settings import Variables
from gateway_svc.settings import read_settings as read_gateway
from khqr_svc.settings import read_settings as read_khqr
from rest_bridge.settings import read_settings as read_bridge
from tests.support.metrics import ROOT

DEPLOY = ROOT / "deploy"
COMPOSE = DEPLOY / "compose/compose.yaml"
MANIFESTS = sorted(
    path for path in (DEPLOY / "kubernetes").glob("*.yaml") if path.name != "kustomization.yaml"
)


@dataclass(frozen=True, kw_only=True)
class Container:
    """A program, what it is told, and the files it is given by their paths inside."""

    where: str
    command: tuple[str, ...]
    environ: Mapping[str, str]
    secrets: frozenset[str]
    files: Mapping[str, str]  # path -> content

    @property
    def module(self) -> str:
        """The Python module that runs, or an empty text."""
        return self.command[2] if self.command[:2] == ("python", "-m") else ""


def compose() -> dict[str, Any]:
    """Return the compose file."""
    found: dict[str, Any] = yaml.safe_load(COMPOSE.read_text(encoding="utf-8"))
    return found


def ours() -> dict[str, Any]:
    """Return the services of the compose file that run our image."""
    return {
        name: one
        for name, one in compose()["services"].items()
        if "payment-gateway" in one["image"]
    }


def manifests() -> list[dict[str, Any]]:
    """Return every document of the manifests."""
    return [
        document
        for path in MANIFESTS
        for document in yaml.safe_load_all(path.read_text(encoding="utf-8"))
    ]


def of_kind(kind: str) -> dict[str, dict[str, Any]]:
    """Return the documents of one kind, by name."""
    return {one["metadata"]["name"]: one for one in manifests() if one["kind"] == kind}


def containers() -> dict[str, Container]:
    """Return every container that runs our image."""
    return _of_compose() | _of_kubernetes()


def _of_compose() -> dict[str, Container]:
    configs = {name: (COMPOSE.parent / one["file"]) for name, one in compose()["configs"].items()}
    found = {}
    for name, one in ours().items():
        targets = {each["target"]: configs[each["source"]] for each in one.get("configs", ())}
        found[f"compose {name}"] = Container(
            where=f"compose {name}",
            command=tuple(one["command"]),
            environ=dict(one["environment"]),
            secrets=frozenset(f"/run/secrets/{each}" for each in one.get("secrets", ())),
            files={
                path: source.read_text(encoding="utf-8") if source.exists() else ""
                for path, source in targets.items()
            },
        )
    return found


def _of_kubernetes() -> dict[str, Container]:
    maps = {name: one["data"] for name, one in of_kind("ConfigMap").items()}
    found = {}
    for name, one in {**of_kind("Deployment"), **of_kind("Job")}.items():
        pod = one["spec"]["template"]["spec"]
        [container] = pod["containers"]
        environ = dict(maps[container["envFrom"][0]["configMapRef"]["name"]])
        environ |= {each["name"]: each["value"] for each in container.get("env", ())}
        volumes = {each["name"]: each for each in pod["volumes"]}
        secrets: set[str] = set()
        files: dict[str, str] = {}
        for mount in container["volumeMounts"]:
            volume, path = volumes[mount["name"]], mount["mountPath"]
            if "secret" in volume:
                secrets |= {f"{path}/{item['path']}" for item in volume["secret"]["items"]}
            if "configMap" in volume:
                data = maps[volume["configMap"]["name"]]
                files |= {f"{path}/{key}": text for key, text in data.items()}
        found[f"kubernetes {name}"] = Container(
            where=f"kubernetes {name}",
            command=tuple(container["command"]),
            environ=environ,
            secrets=frozenset(secrets),
            files=files,
        )
    return found


_SAMPLES = {
    "database-url": "postgresql+asyncpg://payments:8f3c2a51@postgres/payments",
    "amk-username": "insurer-7c41",
    "amk-password": "2b6dd0d5f2",
    "amk-hmac-key": "bm8gYmFuaydzIGtleQ==",
}


def settings_of(container: Container, *, root: Path) -> Any:
    """Return the settings its program reads, its files lying under `root`.

    :raises SettingError: the program would refuse to start.
    """
    for path in container.secrets:
        _put(root, path, _SAMPLES.get(path.rpartition("/")[2], "a-sample"), root)
    for path, content in container.files.items():
        _put(root, path, content, root)
    environ = {
        name: _rooted(value, root) if not name.endswith("_LISTEN") else value
        for name, value in container.environ.items()
    }
    variables = Variables(environ=environ)
    read: Mapping[str, Callable[[], Any]] = {
        "gateway_svc": lambda: read_gateway(variables=variables, environ=environ),
        "gateway_svc.migrations": lambda: read_gateway(variables=variables, environ=environ),
        "khqr_svc": lambda: read_khqr(variables=variables, environ=environ),
        "rest_bridge": lambda: read_bridge(variables=variables),
        "amk_sandbox": lambda: read_sandbox(variables=variables),
    }
    return read[container.module]()


def _put(root: Path, path: str, content: str, around: Path) -> None:
    place = root / path.lstrip("/")
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(_rooted(content, around), encoding="utf-8")


def _rooted(text: str, root: Path) -> str:
    for folder in ("/run/secrets/", "/etc/payments/"):
        text = text.replace(folder, f"{root}{folder}")
    return text
