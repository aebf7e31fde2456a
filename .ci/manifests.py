"""Checks what deploy/kubernetes builds: `manifests.py KUSTOMIZE MODELS`, where MODELS is the folder that
mesh-models.mjs runs in.

Every overlay is built, and the base with each component by itself. Every object of Kubernetes is validated against the
schemas of its version, strictly: a field that does not exist is an error. Objects of Istio, cert-manager and the Prometheus
Operator are validated against the schemas of their definitions by mesh-models.mjs. Those of Linkerd, whose schemas no
registry has, are named, so that nothing is skipped in silence. Then follows what no schema knows: that names which must
agree do.
"""

import copy
import json
import os
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
MODELLED = ("networking.istio.io/v1", "security.istio.io/v1", "cert-manager.io/v1", "monitoring.coreos.com/v1")
WORKLOADS = ("Deployment", "StatefulSet", "DaemonSet")

# What a service may take to end after its drain delay, in seconds: calls in flight (service-kit's DRAIN_GRACE), then what
# it has in hand.
END_SECONDS = 15


def main(kustomize, models):
    script = (pathlib.Path(__file__).parent / "mesh-models.mjs").resolve()
    built = {}
    for directory in sorted(KUBERNETES.glob("overlays/*")) + [KUBERNETES / "base"]:
        built[str(directory.relative_to(KUBERNETES))] = build(kustomize, directory)
    for component in sorted(KUBERNETES.glob("components/*")):
        built[str(component.relative_to(KUBERNETES))] = build(kustomize, with_base(component))
    refuses_what_is_wrong(built["base"])
    known = variables()
    compose(known)
    restoring = yaml.safe_load((KUBERNETES / "restore.yaml").read_text())
    validate(restoring)
    hardened("restore.yaml", restoring["spec"])
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


def build(kustomize, directory):
    text = subprocess.run([kustomize, "build", directory], check=True, capture_output=True, text=True).stdout
    return list(yaml.safe_load_all(text))


def with_base(component):
    """A kustomization of the base and one component. Paths in it are relative: kustomize takes no others."""
    directory = ROOT / "target/components" / component.name
    directory.mkdir(parents=True, exist_ok=True)
    path = lambda to: os.path.relpath(to.resolve(), directory.resolve())
    text = {"namespace": "setkeeper", "resources": [path(KUBERNETES / "base")], "components": [path(component)]}
    (directory / "kustomization.yaml").write_text(yaml.safe_dump(text))
    return directory


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
    whole = yaml.safe_load((ROOT / "deploy/compose.yaml").read_text())
    measured = set()
    for name, service in whole["services"].items():
        variables = service.get("environment", {})
        check(set(variables) <= known, f"compose.yaml, {name}: unknown variables {set(variables) - known}")
        if "SETKEEPER_METRICS_LISTEN" in variables:
            measured.add(f"{name}:{port_of(variables['SETKEEPER_METRICS_LISTEN'])}")
        for secret in service.get("secrets", []) if service.get("read_only") else []:
            check("file" in whole["secrets"][secret], f"compose.yaml, {name}: Docker puts no {secret} where all is read-only")
    jobs = yaml.safe_load((ROOT / "deploy/prometheus.yaml").read_text())["scrape_configs"]
    asked = {target for job in jobs for group in job["static_configs"] for target in group["targets"]}
    check(asked == measured, f"prometheus.yaml asks {asked}, but there are {measured}")


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
        elif one["kind"] == "VirtualService":
            known_hosts = {other["metadata"]["name"] for other in objects if other["kind"] == "Service"}
            check(set(spec["hosts"]) <= known_hosts, f"{name}: there is no Service {spec['hosts']}")
        elif one["kind"] == "PodDisruptionBudget":
            check(selected(templates, spec["selector"]), f"{name} selects no pods")
        elif one["kind"] == "ConfigMap" and one["metadata"]["name"].startswith("setkeeper"):
            check(set(one["data"]) <= known, f"{name}: unknown variables {set(one['data']) - known}")
        elif one["kind"] in WORKLOADS:
            hardened(name, spec["template"]["spec"])
            operated(name, spec["template"], objects)
            mounted(name, spec)
            check(labels_match(spec["selector"], spec["template"]), f"{name} does not select its own pods")
            for container in spec["template"]["spec"]["containers"]:
                names = {variable["name"] for variable in container.get("env", [])}
                check(names <= known, f"{name}: unknown variables {names - known}")


def operated(name, template, objects):
    """What an operator relies on: metrics where the annotations say, an end within the grace period, and that something may
    reach every port."""
    for container in template["spec"]["containers"]:
        ports = {port["name"]: port["containerPort"] for port in container["ports"]}
        reached = set().union(*(admitted(one["spec"], template) for one in objects if one["kind"] == "NetworkPolicy"))
        check(ports.keys() - {"http"} <= reached, f"{name}: no network policy lets anyone reach {ports.keys() - reached}")
        if "envFrom" not in container:
            continue  # Not one of our services.
        for kind in ("livenessProbe", "readinessProbe"):
            port = next(iter(container[kind][how]["port"] for how in ("grpc", "httpGet") if how in container[kind]))
            check(port in ports or port in ports.values(), f"{name}: {kind} asks {port}, which is no port")
        names = {source["configMapRef"]["name"] for source in container["envFrom"]}
        config = next(one["data"] for one in objects if one["kind"] == "ConfigMap" and one["metadata"]["name"] in names)
        listens = port_of(config["SETKEEPER_METRICS_LISTEN"])
        told = template["metadata"]["annotations"]["prometheus.io/port"]
        check(listens == told == str(ports["metrics"]), f"{name}: metrics on {listens}, {told} or {ports['metrics']}")
        delay = int(config["SETKEEPER_DRAIN_DELAY"].removesuffix("s"))
        grace = template["spec"]["terminationGracePeriodSeconds"]
        check(delay + END_SECONDS <= grace, f"{name}: a drain of {delay} s leaves too little of {grace} s to end")


def admitted(policy, template):
    """The named ports at which a network policy lets someone reach a pod."""
    if not labels_match(policy["podSelector"], template):
        return set()
    return {port["port"] for rule in policy.get("ingress", []) for port in rule.get("ports", [])}


def port_of(address):
    return address.rsplit(":", 1)[1]


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
