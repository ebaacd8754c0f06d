"""What kubectl would get: valid in strict schemas, all that services need, and no gap in a roll-out."""

import base64
import shutil
from functools import cache
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from deploy import secret_files
from deploy.kubernetes import __main__ as kubernetes
from deploy.kubernetes import rendering
from deploy.settings import LocalSettings
from services.events.config import EventsSettings
from shared.server import ENDING_SECONDS
from tests.deploy.images import told_settings
from tests.deploy.images.dockerfile import CHECKOUT

SERVICES = tuple(rendering.PORTS)
# gRPC probes are in every cluster from 1.27 on.
OLDEST = "1.27"
Manifest = dict[str, Any]


@cache
def manifests() -> tuple[Manifest, ...]:
    return tuple(yaml.safe_load_all(rendering.manifests("registry.example/team", "1.2.3")))


def prometheus() -> dict[str, Any]:
    parsed: dict[str, Any] = yaml.safe_load(
        (CHECKOUT / "deploy" / "prometheus" / "prometheus.yml").read_text()
    )
    return parsed


@pytest.fixture(scope="module")
def directory(scratch_directory: Path) -> Path:
    directory = scratch_directory / "cluster"
    arguments = [str(directory), "--database-host", "db.example", "--database", "analytics"]
    assert secret_files.main(arguments) == 0
    return directory


def secrets(directory: Path) -> dict[str, dict[str, bytes]]:
    listed = yaml.safe_load(rendering.secrets(directory))["items"]
    return {
        one["metadata"]["name"]: {name: base64.b64decode(value) for name, value in one["data"].items()}
        for one in listed
    }


def of(kind: str, name: str) -> Manifest:
    [found] = [one for one in manifests() if (one["kind"], one["metadata"]["name"]) == (kind, name)]
    return found


def pod(service: str) -> Manifest:
    spec: Manifest = of("Deployment", service)["spec"]["template"]["spec"]
    return spec


def containers(service: str) -> list[Manifest]:
    return [*pod(service).get("initContainers", []), *pod(service)["containers"]]


def test_everything_fits_the_strict_schemas(directory: Path) -> None:
    ingress = yaml.safe_load((CHECKOUT / "deploy" / "kubernetes" / "ingress.example.yaml").read_text())
    listed = yaml.safe_load(rendering.secrets(directory))["items"]
    everything = [*manifests(), ingress, *listed]
    assert len(everything) == 39 + 1 + 12
    for one in everything:
        kubernetes_validate.validate(one, OLDEST, strict=True)
    of_each_kind = {one["kind"]: one for one in everything}
    for one in of_each_kind.values():
        kubernetes_validate.validate(one, kubernetes_validate.latest_version(), strict=True)
    names = [(one["kind"], one["metadata"]["name"]) for one in everything]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("service", SERVICES)
def test_every_variable_is_a_setting_and_all_that_are_required_are_given(
    service: str, directory: Path
) -> None:
    made = secrets(directory)
    private = {name: value.decode() for name, value in made[service].items()}
    public = of("ConfigMap", service)["data"]
    assert private.keys().isdisjoint(public)
    mounted = {f"/run/secrets/{name}": str(directory / name) for name in made[f"{service}-files"]}
    told = {name: mounted.get(value, value) for name, value in (private | public).items()}
    settings = told_settings.parse(service, told)
    port, metrics_port = rendering.PORTS[service]
    assert (settings.address, settings.metrics_address) == (f"0.0.0.0:{port}", f"0.0.0.0:{metrics_port}")
    if service != "gateway":
        assert private[f"{service.upper()}_DATABASE_URL"].endswith("@db.example:5432/analytics")
    for container in containers(service):
        sources = [next(iter(one.values()))["name"] for one in container["envFrom"]]
        assert sources == [service, service]


@pytest.mark.parametrize("missing", ["events.env", "token_public_key.pem"])
def test_secrets_are_given_whole_or_not_at_all(directory: Path, tmp_path: Path, missing: str) -> None:
    copy = tmp_path / "cluster"
    shutil.copytree(directory, copy)
    (copy / missing).unlink()
    with pytest.raises(SystemExit, match=rf"{missing} is missing: `python -m deploy\.secret_files"):
        kubernetes.main(["secrets", str(copy)])


def test_addresses_are_those_of_services() -> None:
    listening = {
        f"dns:///{one['metadata']['name']}:{one['spec']['ports'][0]['port']}"
        for one in manifests()
        if one["kind"] == "Service"
    }
    told = [value for one in manifests() if one["kind"] == "ConfigMap" for value in one["data"].values()]
    asked = {word.strip('"},') for value in told for word in value.split() if "dns:///" in word}
    assert asked
    assert asked <= listening
    local = LocalSettings()
    assert {
        one.name: tuple(int(it.rpartition(":")[2]) for it in (one.address, one.metrics_address))
        for one in (*local.services(), local.gateway())
    } == rendering.PORTS


@pytest.mark.parametrize("service", SERVICES)
def test_a_roll_out_leaves_no_gap(service: str) -> None:
    spec = of("Deployment", service)["spec"]
    assert spec["strategy"]["rollingUpdate"]["maxUnavailable"] == 0
    assert "replicas" not in spec
    scaler = of("HorizontalPodAutoscaler", service)["spec"]
    assert scaler["scaleTargetRef"]["name"] == service
    budget = of("PodDisruptionBudget", service)["spec"]
    assert scaler["minReplicas"] > budget["maxUnavailable"] > 0
    [container] = pod(service)["containers"]
    pause = int(container["lifecycle"]["preStop"]["exec"]["command"][1])
    drain = EventsSettings.model_fields["drain_seconds"].default
    assert pod(service)["terminationGracePeriodSeconds"] > pause + drain + ENDING_SECONDS
    labels = spec["template"]["metadata"]["labels"].items()
    for selected in (spec["selector"]["matchLabels"], budget["selector"]["matchLabels"]):
        assert selected.items() <= labels
    assert of("Service", service)["spec"]["selector"].items() <= labels


@pytest.mark.parametrize("service", SERVICES)
def test_every_replica_is_scraped_and_nobody_is_asked_who_is_not_ready(service: str) -> None:
    told = of("Service", f"{service}-metrics")["spec"]
    assert told["clusterIP"] == "None"  # one address for all would mix up their counters
    assert told["publishNotReadyAddresses"] is True  # else no alert could tell of who does not serve
    assert told["selector"] == of("Service", service)["spec"]["selector"]
    [job] = [each for each in prometheus()["scrape_configs"] if each["job_name"] == service]
    [found] = job["dns_sd_configs"]
    assert (found["names"], found["port"]) == ([f"{service}-metrics"], told["ports"][0]["port"])
    asked = of("Service", service)["spec"]
    assert "publishNotReadyAddresses" not in asked
    assert len(asked["ports"]) == 1


@pytest.mark.parametrize("service", SERVICES)
def test_not_serving_is_unready_and_never_a_reason_to_restart(service: str) -> None:
    [container] = pod(service)["containers"]
    ports = {one["name"]: one["containerPort"] for one in container["ports"]}
    if service == "gateway":
        assert container["readinessProbe"]["httpGet"] == {"path": "/healthz", "port": "http"}
    else:
        assert container["readinessProbe"]["grpc"] == {"port": ports["grpc"]}
        assert of("Service", service)["spec"]["clusterIP"] == "None"
    for probe in ("livenessProbe", "startupProbe"):
        assert container[probe]["httpGet"] == {"path": "/metrics", "port": "metrics"}


@pytest.mark.parametrize("service", SERVICES)
def test_a_container_runs_its_image_with_no_rights(service: str) -> None:
    assert pod(service)["securityContext"]["runAsNonRoot"] is True
    assert pod(service)["automountServiceAccountToken"] is False
    module = "gateway" if service == "gateway" else f"services.{service}"
    commands = [container["command"][2:] for container in containers(service)]
    assert commands == ([[module]] if service == "gateway" else [[module, "migrate"], [module]])
    for container in containers(service):
        assert container["image"] == f"registry.example/team/brain-{service}:1.2.3"
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
    user = pod(service)["securityContext"]["runAsUser"]
    assert f"USER {user}:" in (CHECKOUT / "deploy" / "Dockerfile").read_text()
