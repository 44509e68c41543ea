"""The image, the compose file and the manifests, as far as they can be judged without an engine.

| promise                                                                            |
|------------------------------------------------------------------------------------|
| the linters of their trades have nothing to say                                    |
| the image: two stages, hashes, no build tools, another user than root, a check     |
| every container: reads only, no rights, no way to more of them, no secret by value |
| every container is told what its program takes, in production                      |
| migrations run before a gateway; stopping waits longer than draining               |
| every Deployment has its budget, its probes, its network policy; nothing is left   |
"""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from chassis.settings import SettingError
from gateway_svc.settings import GatewaySettings
from tests.deploy.deployments import (
    COMPOSE,
    DEPLOY,
    MANIFESTS,
    Container,
    compose,
    containers,
    manifests,
    of_kind,
    ours,
    settings_of,
)
from tests.support.metrics import ROOT

BIN = Path(sys.executable).parent
DOCKERFILE = DEPLOY / "Dockerfile"
SECRET_NAME = re.compile(r"PASSWORD|SECRET|TOKEN|HMAC|_KEY\b|DATABASE_URL", re.ASCII)
WRITER_STOPS_S = 5  # after the drain the writers may take this long
PROGRAMS = [one for one in containers().values() if one.module]


def _run(*command: str) -> None:
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_hadolint_has_nothing_to_say_of_the_image() -> None:
    _run(str(BIN / "hadolint"), "--failure-threshold", "style", str(DOCKERFILE))


def test_yamllint_has_nothing_to_say_of_any_file() -> None:
    _run(str(BIN / "yamllint"), "--strict", "-c", str(DEPLOY / ".yamllint"), str(DEPLOY))


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.name)
def test_kubernetes_knows_every_word_of_a_manifest(path: Path) -> None:
    _run(str(BIN / "kubernetes-validate"), "--strict", str(path))


def test_the_planted_word_is_seen(tmp_path: Path) -> None:
    bad = tmp_path / "bad.yaml"
    text = (DEPLOY / "kubernetes/gateway.yaml").read_text(encoding="utf-8")
    bad.write_text(text.replace("terminationGracePeriodSeconds", "terminationGraceSeconds"))
    with pytest.raises(AssertionError):
        _run(str(BIN / "kubernetes-validate"), "--strict", str(bad))


def test_compose_reads_its_file() -> None:
    docker = shutil.which("docker")
    if docker is None or subprocess.run([docker, "compose", "version"], check=False,
                                        capture_output=True).returncode:  # fmt: skip
        pytest.skip("docker compose is missing: the file is judged by the tests below alone")
    _run(docker, "compose", "-f", str(COMPOSE), "config", "--quiet")


def test_the_image_is_built_in_one_stage_and_runs_in_another() -> None:
    text = DOCKERFILE.read_text(encoding="utf-8")
    build, final = re.split(r"^FROM .*$", text, flags=re.MULTILINE)[1:]
    assert "--require-hashes" in build
    assert re.search(r"pip uninstall --yes .*hatchling", build)
    assert "pip uninstall --yes pip" in build
    assert "COPY --from=build /app /app" in final
    assert "pip install" not in final
    assert "rm -rf /usr/local/lib/python3.11/site-packages" in final
    assert re.search(r"^USER 10001:10001$", final, re.MULTILINE)
    assert re.search(r"^HEALTHCHECK ", final, re.MULTILINE)
    copied = set(re.findall(r"^COPY (\w+)/ ", build, re.MULTILINE))
    packages = set(re.findall(r'^  "(\w+)",$', _wheel(), re.MULTILINE))
    assert copied == packages | {"generated"}


def test_what_is_sent_to_the_builder_is_what_it_copies() -> None:
    lines = (DEPLOY / "Dockerfile.dockerignore").read_text(encoding="utf-8").splitlines()
    allowed = {line[1:] for line in lines if line.startswith("!")}
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE.read_text(), re.MULTILINE)
    assert allowed == {name.rstrip("/") for line in copied for name in line.split()}


def _wheel() -> str:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    return text.partition("targets.wheel]")[2].partition("]\n")[0]


@pytest.mark.parametrize("container", PROGRAMS, ids=lambda one: one.where)
def test_a_container_is_told_what_its_program_takes(container: Container, tmp_path: Path) -> None:
    settings = settings_of(container, root=tmp_path)
    if container.module != "amk_sandbox":
        assert container.environ["ENVIRONMENT"] == "production"
        assert settings.metrics_listen.port == 9100


@pytest.mark.parametrize("container", PROGRAMS, ids=lambda one: one.where)
def test_no_secret_is_a_value(container: Container) -> None:
    for name, value in container.environ.items():
        if SECRET_NAME.search(name):
            assert name.endswith("_FILE"), name
            assert value.startswith(("/run/secrets/", "/etc/payments/")), name
    for content in container.files.values():
        for value in re.findall(r"^(?:username|password|key) = (.*)$", content, re.MULTILINE):
            assert value.startswith('"file:/run/secrets/'), value


def test_a_secret_that_is_not_mounted_is_seen(tmp_path: Path) -> None:
    gateway = containers()["kubernetes gateway"]
    less = Container(
        where=gateway.where, command=gateway.command, environ=gateway.environ,
        secrets=gateway.secrets - {"/run/secrets/payments/amk-hmac-key"}, files=gateway.files,
    )  # fmt: skip
    with pytest.raises(SettingError, match="amk-hmac-key"):
        settings_of(less, root=tmp_path)


@pytest.mark.parametrize("name", ours())
def test_a_service_of_compose_can_do_nothing_but_its_work(name: str) -> None:
    one = ours()[name]
    assert one["read_only"] is True
    assert one["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in one["security_opt"]
    assert "user" not in one  # the image's own, which is not root
    assert one["logging"]["options"]["max-size"]
    well = one.get("healthcheck") == {"disable": True} or "HEALTHCHECK_URL" in one["environment"]
    assert well


def test_compose_migrates_and_makes_topics_before_a_gateway_starts() -> None:
    services = compose()["services"]
    before = services["gateway"]["depends_on"]
    for step in ("migrate", "topics"):
        assert before[step]["condition"] == "service_completed_successfully"
        assert services[step]["restart"] == "no"
    assert services["migrate"]["command"] == ["python", "-m", "gateway_svc.migrations"]
    used = {secret for one in services.values() for secret in one.get("secrets", ())}
    assert used == compose()["secrets"].keys()
    assert all(one["file"].startswith("./secrets/") for one in compose()["secrets"].values())


def _pod(document: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = document["spec"]["template"]["spec"]
    return found


@pytest.mark.parametrize("kind", ["Deployment", "Job"])
def test_a_pod_can_do_nothing_but_its_work(kind: str) -> None:
    for document in of_kind(kind).values():
        pod = _pod(document)
        assert pod["automountServiceAccountToken"] is False
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        [container] = pod["containers"]
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert container["resources"]["requests"].keys() == {"cpu", "memory"}
        assert "memory" in container["resources"]["limits"]


def test_stopping_waits_longer_than_draining() -> None:
    drain_s = GatewaySettings.drain_s
    for document in of_kind("Deployment").values():
        pod = _pod(document)
        pre_stop_s = pod["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]
        needed_s = pre_stop_s + drain_s + WRITER_STOPS_S
        assert pod["terminationGracePeriodSeconds"] > needed_s
    for one in ours().values():
        assert int(one["stop_grace_period"].rstrip("s")) > drain_s + WRITER_STOPS_S


def test_a_service_is_asked_by_grpc_and_not_killed_for_what_it_lacks() -> None:
    deployments = of_kind("Deployment")
    assert deployments.keys() == {"gateway", "khqr", "bridge"}
    for name, port in {"gateway": 50051, "khqr": 50052}.items():
        [container] = _pod(deployments[name])["containers"]
        assert container["readinessProbe"]["grpc"] == {"port": port}
        assert "tcpSocket" in container["livenessProbe"]
        assert of_kind("Service")[name]["spec"]["clusterIP"] == "None"
    [bridge] = _pod(deployments["bridge"])["containers"]
    assert bridge["readinessProbe"]["httpGet"]["path"] == "/readyz"
    assert bridge["livenessProbe"]["httpGet"]["path"] == "/livez"


def test_every_deployment_has_a_budget_a_policy_and_a_scrape() -> None:
    policies = of_kind("NetworkPolicy")
    for name, document in of_kind("Deployment").items():
        assert document["spec"]["replicas"] >= 2
        budget = of_kind("PodDisruptionBudget")[name]["spec"]
        labels = document["spec"]["template"]["metadata"]["labels"]
        assert budget["minAvailable"] < document["spec"]["replicas"]
        for selector in (
            budget["selector"],
            policies[name]["spec"]["podSelector"],
            document["spec"]["selector"],
        ):
            assert selector["matchLabels"].items() <= labels.items()
        notes = document["spec"]["template"]["metadata"]["annotations"]
        assert notes["prometheus.io/scrape"] == "true"
        assert notes["prometheus.io/port"] == "9100"
    nobody = policies["nobody"]["spec"]
    assert nobody == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}


def test_kustomize_is_told_of_every_file_but_the_step_before() -> None:
    listed = yaml.safe_load((DEPLOY / "kubernetes/kustomization.yaml").read_text(encoding="utf-8"))
    assert {*listed["resources"], "migrate.yaml"} == {path.name for path in MANIFESTS}
    assert json.dumps(manifests()).count('"image": "payment-gateway') == 4
