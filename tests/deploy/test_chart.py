"""The chart: rendered by Helm's own engine, and held to the schemas of Kubernetes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import helm_python
import kubernetes_validate
import pytest
import yaml

from techstone.app import config

CHART = Path(__file__).parents[2] / "deploy" / "helm" / "techstone"
_MODELS = """
[[models]]
name = "gpt-4o"
routes = [{ provider = "openai", model = "gpt-4o" }]
"""
_EVERYTHING: dict[str, Any] = {
    "image": {"repository": "registry.example.com/techstone", "tag": "1.2.3"},
    "imagePullSecrets": [{"name": "pull"}],
    "config": _MODELS,
    "control": {
        "replicas": 1,
        "nodeSelector": {"disk": "ssd"},
        "tolerations": [{"key": "a", "operator": "Exists"}],
        "podAnnotations": {"a": "b"},
    },
    "gateway": {
        "autoscaling": {"enabled": False},
        "replicas": 5,
        "drain": 300,
        "storage": {"className": "fast"},
        "podAnnotations": {"a": "b"},
        "affinity": {"nodeAffinity": {}},
    },
    "ingress": {"className": "nginx"},
    "serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}},
}


def render(values: dict[str, Any], name: str = "prod") -> dict[tuple[str, str], Any]:
    """Return the manifests by kind and name."""
    with helm_python.Chart.load(str(CHART)) as chart:
        texts = chart.render(values, name=name, namespace="ai")
    documents = [d for path, text in texts.items() if path.endswith(".yaml") for d in yaml.safe_load_all(text) if d]
    found = {(document["kind"], document["metadata"]["name"]): document for document in documents}
    assert len(found) == len(documents)
    return found


def test_linter_finds_no_error() -> None:
    """`helm lint`; that an icon is recommended is all that it has to say."""
    found = helm_python.lint(str(CHART))
    assert [message["error"] for message in found["messages"]] == ["icon is recommended"]


@pytest.mark.parametrize("version", ["1.29", "1.37"])
@pytest.mark.parametrize("values", [{}, _EVERYTHING, {"ingress": {"enabled": False}}])
def test_manifests_are_what_kubernetes_takes(version: str, values: dict[str, Any]) -> None:
    """Strictly: a field that Kubernetes does not know is an error. ServiceMonitor is the operator's kind."""
    for (kind, _), document in render(values).items():
        if kind != "ServiceMonitor":
            kubernetes_validate.validate(document, version, strict=True)


@pytest.mark.parametrize("values", [{}, _EVERYTHING])
def test_configuration_is_ours(values: dict[str, Any]) -> None:
    """Both planes' files are read by the service, and their certificates lie where the pods mount them."""
    found = render(values)
    control, gateway = (
        config.parse(found["ConfigMap", f"prod-techstone-{plane}"]["data"]["techstone.toml"])
        for plane in ("control", "gateway")
    )
    assert control.server.public_url == "https://ai.example.com"
    assert [model.name for model in control.models] == (["gpt-4o"] if values else [])
    assert gateway.control.addresses == ("https://prod-techstone-control:8100",)
    assert ("Service", "prod-techstone-control") in found
    assert {control.control.tls_cert, control.control.tls_key, gateway.control.tls_ca} == {
        f"/etc/techstone/planes/{name}" for name in ("tls.crt", "tls.key", "ca.crt")
    }


@pytest.mark.parametrize("values", [{}, _EVERYTHING])
def test_pods_are_shut_in(values: dict[str, Any]) -> None:
    """What Kubernetes calls restricted, a read-only root file system beyond that, and no token of the cluster."""
    found = render(values)
    for kind, plane in (("Deployment", "control"), ("StatefulSet", "gateway")):
        pod = found[kind, f"prod-techstone-{plane}"]["spec"]["template"]["spec"]
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert pod["automountServiceAccountToken"] is False
        # Else a Service of the name techstone-control would set TECHSTONE_CONTROL_... in the environment.
        assert pod["enableServiceLinks"] is False
        container = pod["containers"][0]
        assert container["securityContext"]["readOnlyRootFilesystem"] is True
        assert container["securityContext"]["allowPrivilegeEscalation"] is False
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
        # Its own secrets alone: a gateway, which the Internet reaches, has no password of the database.
        assert container["envFrom"] == [{"secretRef": {"name": f"techstone-{plane}"}}]


@pytest.mark.parametrize("values", [{}, _EVERYTHING])
def test_renewed_certificate_reaches_the_pods(values: dict[str, Any]) -> None:
    """The kubelet renews the files of a Secret that is mounted as a folder, never one that is mounted by subPath."""
    found = render(values)
    for kind, plane in (("Deployment", "control"), ("StatefulSet", "gateway")):
        pod = found[kind, f"prod-techstone-{plane}"]["spec"]["template"]["spec"]
        secret = [volume["name"] for volume in pod["volumes"] if "secret" in volume]
        mounts = [mount for mount in pod["containers"][0]["volumeMounts"] if mount["name"] in secret]
        assert mounts == [{"name": "planes", "mountPath": "/etc/techstone/planes", "readOnly": True}]


@pytest.mark.parametrize("release", ["p" * 53, "techstone-" + "p" * 43, "p" * 33 + "-" + "p" * 19])
def test_names_of_a_long_release_fit(release: str) -> None:
    """Helm's longest name has 53 characters; ours end where Kubernetes takes them, also those that it makes itself."""
    found = render(_EVERYTHING, release) | render({}, release)
    for kind, name in found:
        assert re.fullmatch(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", name), (kind, name)
        if kind == "StatefulSet":
            # A label of each pod is this name, a dash and a revision of ten characters.
            assert len(name) + 11 <= 63
    base = next(name for kind, name in found if kind == "StatefulSet").removesuffix("-gateway")
    assert {name for kind, name in found if kind == "Service"} == {
        f"{base}-control", f"{base}-gateway", f"{base}-gateway-pods"
    }  # fmt: skip
    gateway = config.parse(found["ConfigMap", f"{base}-gateway"]["data"]["techstone.toml"])
    assert gateway.control.addresses == (f"https://{base}-control:8100",)


@pytest.mark.parametrize(("values", "drain"), [({}, 60.0), (_EVERYTHING, 300.0)])
def test_gateway_is_given_time_and_keeps_its_journal(values: dict[str, Any], drain: float) -> None:
    """The pod's end is later than pause and drain together; its volume outlives it and the release."""
    found = render(values)
    gateway = found["StatefulSet", "prod-techstone-gateway"]["spec"]
    read = config.parse(found["ConfigMap", "prod-techstone-gateway"]["data"]["techstone.toml"])
    assert read.server.drain == drain
    assert gateway["template"]["spec"]["terminationGracePeriodSeconds"] >= drain + 10 + 5
    assert gateway["persistentVolumeClaimRetentionPolicy"] == {"whenDeleted": "Retain", "whenScaled": "Retain"}
    assert gateway["serviceName"] == "prod-techstone-gateway-pods"
    scaled = ("HorizontalPodAutoscaler", "prod-techstone-gateway") in found
    assert ("replicas" in gateway) is not scaled, "else each upgrade would undo what was scaled"


def test_operator_scrapes_each_gateway_once_as_the_alerts_name_it() -> None:
    """The monitor's labels are on one Service alone, and the job is called techstone."""
    found = render(_EVERYTHING)
    monitor = found["ServiceMonitor", "prod-techstone-gateway"]["spec"]
    wanted = monitor["selector"]["matchLabels"].items()
    services = [document for (kind, _), document in found.items() if kind == "Service"]
    chosen = [service for service in services if wanted <= service["metadata"]["labels"].items()]
    assert [service["metadata"]["name"] for service in chosen] == ["prod-techstone-gateway"]
    assert chosen[0]["metadata"]["labels"][monitor["jobLabel"]] == "techstone"


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"publicUrl": "http://ai.example.com"}, "publicUrl"),
        ({"gateway": {"dran": 3}}, "dran"),
        ({"gateway": {"secretName": ""}}, "secretName"),
        ({"database": {"address": "postgresql://a:secret@host/db"}}, "database/address"),
        ({"limits": {"address": "memory"}}, "limits/address"),
        ({"gateway": {"trustedProxies": []}}, "trustedProxies"),
    ],
)
def test_wrong_values_are_refused_by_name(values: dict[str, Any], told: str) -> None:
    """By the chart's schema, before anything is installed; a password in an address is one of them."""
    with pytest.raises(helm_python.HelmValuesError, match=told):
        render(values)
