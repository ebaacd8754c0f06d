"""Manifests of every service from one template, and their secrets from a directory."""

import base64
import json
from collections.abc import Mapping
from pathlib import Path
from string import Template

from deploy import keys

_MANIFESTS = Path(__file__).parent / "manifests"
# Where each listens: its calls, its metrics.
PORTS: Mapping[str, tuple[int, int]] = {
    "events": (50051, 9101),
    "experiments": (50052, 9102),
    "funnels": (50053, 9103),
    "forecasting": (50054, 9104),
    "alerts": (50055, 9105),
    "gateway": (8080, 9106),
}


def manifests(registry: str, tag: str) -> str:
    """Return everything but secrets, as YAML documents; images are <registry>/brain-<service>:<tag>."""
    fixed = [(_MANIFESTS / name).read_text() for name in ("settings.yaml", "network.yaml")]
    return "---\n".join([*fixed, *(_of_service(service, registry, tag) for service in PORTS)])


def _of_service(service: str, registry: str, tag: str) -> str:
    name = "gateway.yaml" if service == "gateway" else "service.yaml"
    port, metrics_port = PORTS[service]
    return Template((_MANIFESTS / name).read_text()).substitute(
        service=service,
        image=f"{registry}/brain-{service}:{tag}",
        port=port,
        metrics_port=metrics_port,
    )


def secrets(directory: Path) -> str:
    """Return two secrets a service, as JSON: its variables, and the files it reads.

    Raises OSError where a file is missing.
    """
    items = [secret for service in PORTS for secret in _secrets_of(service, directory)]
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": items}, indent=2)


def _secrets_of(service: str, directory: Path) -> list[dict[str, object]]:
    told = directory / f"{service}.env"
    told.stat()  # of a missing file no variables are read, and the service would get none
    variables = {name: value.encode() for name, value in keys.read_variables(told).items()}
    names = [keys.PUBLIC_KEY, *([f"{service}.token"] if service in keys.SERVICE_ROLES else [])]
    files = {name: (directory / name).read_bytes() for name in names}
    return [_secret(service, variables), _secret(f"{service}-files", files)]


def _secret(name: str, data: Mapping[str, bytes]) -> dict[str, object]:
    labels = {"app.kubernetes.io/part-of": "analytics-brain"}
    encoded = {key: base64.b64encode(value).decode() for key, value in data.items()}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "labels": labels},
        "type": "Opaque",
        "data": encoded,
    }
