"""Checks what deploy/kubernetes builds: `manifests.py KUSTOMIZE MODELS`, where MODELS is the folder that
mesh-models.mjs runs in.

Every overlay is built. Every object of Kubernetes is validated against the schemas of its version, strictly: a field that
does not exist is an error. Objects of Istio and cert-manager are validated against the schemas of their definitions by
mesh-models.mjs. Those of Linkerd, whose schemas no registry has, are named, so that nothing is skipped in silence. Then
follows what no schema knows: that names which must agree do.
"""

import copy
import json
import pathlib
import re
import subprocess
import sys

import kubernetes_validate
import yaml

ROOT = pathlib.Path(__file__).parent.parent
KUBERNETES = ROOT / "deploy/kubernetes"
VERSION = "1.37"

# Kinds without a schema, each with its reason to be here.
LINKERD = {
    ("policy.linkerd.io/v1beta3", "Server"),
    ("policy.linkerd.io/v1beta3", "HTTPRoute"),
    ("policy.linkerd.io/v1alpha1", "AuthorizationPolicy"),
    ("policy.linkerd.io/v1alpha1", "MeshTLSAuthentication"),
    ("policy.linkerd.io/v1alpha1", "NetworkAuthentication"),
}
MODELLED = ("security.istio.io/v1", "cert-manager.io/v1")
WORKLOADS = ("Deployment", "StatefulSet", "DaemonSet")


def main(kustomize, models):
    script = (pathlib.Path(__file__).parent / "mesh-models.mjs").resolve()
    built = {}
    for directory in sorted(KUBERNETES.glob("overlays/*")) + [KUBERNETES / "base"]:
        text = subprocess.run([kustomize, "build", directory], check=True, capture_output=True, text=True).stdout
        built[str(directory.relative_to(KUBERNETES))] = list(yaml.safe_load_all(text))
    refuses_what_is_wrong(built["base"])
    known = variables()
    compose(known)
    unknown = set()
    for name, objects in built.items():
        counts = {"kubernetes": 0, "modelled": 0, "unknown": 0}
        modelled = []
        for one in objects:
            kind = (one["apiVersion"], one["kind"])
            if kind in LINKERD:
                counts["unknown"] += 1
                unknown.add(kind)
            elif kind[0] in MODELLED:
                modelled.append(one)
            else:
                validate(one)
                counts["kubernetes"] += 1
        counts["modelled"] = len(modelled)
        subprocess.run(["node", script], input=json.dumps(modelled), cwd=models, check=True, text=True)
        agree(objects, known)
        print(f"{name}: {counts['kubernetes']} objects valid for Kubernetes {VERSION},", end=" ")
        print(f"{counts['modelled']} for their own definitions, {counts['unknown']} without a schema")
    for version, kind in sorted(unknown):
        print(f"no schema: {version} {kind}")


def validate(one):
    try:
        kubernetes_validate.validate(one, VERSION, strict=True)
    except Exception as error:
        sys.exit(f"{one['kind']} {one['metadata']['name']}: {error}")


def refuses_what_is_wrong(objects):
    """The validator is of use only if it refuses: a field that does not exist, and one of another type."""
    deployment = next(one for one in objects if one["kind"] == "Deployment")
    for field, value in (("replica", 2), ("replicas", "two")):
        wrong = copy.deepcopy(deployment)
        wrong["spec"][field] = value
        try:
            kubernetes_validate.validate(wrong, VERSION, strict=True)
        except kubernetes_validate.ValidationError:
            continue
        sys.exit(f"a Deployment with spec.{field}: {value!r} was not refused: the validation does nothing")


def variables():
    """Every environment variable that the program reads."""
    sources = (ROOT / "services/setkeeper/src").glob("args/**/*.rs")
    text = "".join(path.read_text() for path in [ROOT / "services/setkeeper/src/args.rs", *sources])
    return set(re.findall(r'env = "([A-Z_]+)"', text))


def compose(known):
    """The compose file's form is checked by the library of Docker Compose; that it names what the program reads, here."""
    services = yaml.safe_load((ROOT / "deploy/compose.yaml").read_text())["services"]
    for name, service in services.items():
        names = set(service.get("environment", {}))
        check(names <= known, f"compose.yaml, {name}: unknown variables {names - known}")


def agree(objects, known):
    """What must agree: selectors with pods, named ports with containers, mounts with volumes, variables with the program."""
    workloads = [one for one in objects if one["kind"] in WORKLOADS]
    templates = [one["spec"]["template"] for one in workloads]
    for one in objects:
        name = f"{one['kind']} {one['metadata']['name']}"
        spec = one.get("spec", {})
        if one["kind"] == "Service":
            pods = selected(templates, {"matchLabels": spec["selector"]})
            ports = named_ports(pods)
            check(pods, f"{name} selects no pods")
            for port in spec["ports"]:
                check(ports.get(port["targetPort"]) == port.get("protocol", "TCP"), f"{name}: no port {port}")
        elif one["kind"] == "NetworkPolicy":
            pods = selected(templates, spec["podSelector"])
            check(pods, f"{name} selects no pods")
            for port in (port for rule in spec.get("ingress", []) for port in rule.get("ports", [])):
                named = isinstance(port["port"], str)
                check(not named or named_ports(pods).get(port["port"]) == port["protocol"], f"{name}: no port {port}")
        elif one["kind"] == "PodDisruptionBudget":
            check(selected(templates, spec["selector"]), f"{name} selects no pods")
        elif one["kind"] == "ConfigMap" and one["metadata"]["name"].startswith("setkeeper"):
            check(set(one["data"]) <= known, f"{name}: unknown variables {set(one['data']) - known}")
        elif one["kind"] in WORKLOADS:
            hardened(name, spec["template"]["spec"])
            mounted(name, spec)
            check(labels_match(spec["selector"], spec["template"]), f"{name} does not select its own pods")
            for container in spec["template"]["spec"]["containers"]:
                names = {variable["name"] for variable in container.get("env", [])}
                check(names <= known, f"{name}: unknown variables {names - known}")


def hardened(name, pod):
    everyone = pod["securityContext"]
    check(everyone["runAsNonRoot"] and everyone["seccompProfile"] == {"type": "RuntimeDefault"}, f"{name} may be root")
    check(pod["automountServiceAccountToken"] is False, f"{name} may call the Kubernetes API")
    for container in pod["containers"]:
        context = container["securityContext"]
        check(context["readOnlyRootFilesystem"] is True, f"{name} may write its root")
        check(context["allowPrivilegeEscalation"] is False, f"{name} may gain privileges")
        check(context["capabilities"] == {"drop": ["ALL"]}, f"{name} has capabilities")
        check("memory" in container["resources"]["limits"], f"{name} has no limit of memory")


def mounted(name, spec):
    pod = spec["template"]["spec"]
    volumes = {volume["name"] for volume in pod.get("volumes", [])}
    volumes |= {claim["metadata"]["name"] for claim in spec.get("volumeClaimTemplates", [])}
    mounts = {mount["name"] for container in pod["containers"] for mount in container.get("volumeMounts", [])}
    check(volumes == mounts, f"{name}: volumes {volumes} and mounts {mounts} differ")


def selected(templates, selector):
    return [template for template in templates if labels_match(selector, template)]


def labels_match(selector, template):
    labels = template["metadata"]["labels"]
    exact = all(labels.get(key) == value for key, value in selector.get("matchLabels", {}).items())
    listed = (labels.get(one["key"]) in one["values"] for one in selector.get("matchExpressions", []))
    return exact and all(listed)


def named_ports(templates):
    containers = [container for template in templates for container in template["spec"]["containers"]]
    ports = [port for container in containers for port in container["ports"]]
    return {port["name"]: port.get("protocol", "TCP") for port in ports}


def check(holds, otherwise):
    if not holds:
        sys.exit(otherwise)


main(*sys.argv[1:])
