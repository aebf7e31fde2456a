"""Runs a static program as deploy/kubernetes runs its image: `image.py PROGRAM KUSTOMIZE OVERLAY`, as root, with dig,
grpcurl and openssl.

Each container gets what its manifest gives it and no more: its arguments, its variables, its volumes, a user that is nobody
in particular, no way to gain privileges, and a root that cannot be written and holds nothing but the program. Each pod has
a network namespace and an address of its own, on a bridge that stands for the network of the cluster; the name of a Service
leads to all of its pods.

Every probe of every pod must be answered well, the demo must come about and every name server know it. Every pod must tell
what it measures where its manifest says so, and on SIGTERM say that it takes no more calls before it ends well, within its
grace period. Then restore.yaml must put a backup in the place of the store.
"""

import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

import yaml

ROOT = pathlib.Path(__file__).resolve().parent.parent
TOKEN = "a-token-for-this-check"
# How long the services may take to become ready: seconds, on a busy machine.
READY_WITHIN = 60
# What the kubelet grants a probe, in seconds; more than the manifests say, because the machine is busy.
PROBE_WITHIN = 5
DEVICES = ("null", "zero", "urandom")
NETWORK = "10.88.0"
# A sample in Prometheus' text format: name, labels, value.
SAMPLE = re.compile(r'[a-z_]+(\{[a-z_]+="[^"]*"(,[a-z_]+="[^"]*")*\})? [-+0-9.eInf]+')


def main(program, kustomize, overlay, *inside):
    if not inside:
        alone = ["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"]
        os.execvp("unshare", [*alone, sys.executable, __file__, program, kustomize, overlay, "inside"])
    build = [kustomize, "build", ROOT / "deploy/kubernetes/overlays" / overlay]
    built = subprocess.run(build, check=True, capture_output=True, text=True).stdout
    objects = list(yaml.safe_load_all(built))
    place = pathlib.Path("/mnt")  # of this mount namespace
    run("mount", "-t", "tmpfs", "tmpfs", place)
    cluster_network()
    authority(place)
    workloads = [one for one in objects if one["kind"] in ("Deployment", "StatefulSet")]
    replicas = [(one, replica) for one in workloads for replica in range(one["spec"]["replicas"])]
    pods = [Pod(place, number, *replica, objects) for number, replica in enumerate(replicas, 2)]
    names = hosts(pods, objects)
    for pod in pods:
        pod.prepare(program, objects, names)
        pod.start()
    wait_until_ready(pods)
    caller = user(place, objects, pods)
    run(program, "apply", "-f", ROOT / "deploy/examples/demo.yaml", env=caller)
    run(program, "rollout", "status", "sts/web", f"--timeout={READY_WITHIN}s", env=caller)
    for pod in pods:
        pod.is_measured()
        if "dns" in pod.ports:
            pod.knows("web-0.web.default.svc.cluster.local")
    run(program, "backup", place / "backup", env=caller)
    drain(pods, caller)
    restore(pods, place / "backup")
    print(f"{len(pods)} pods are ready, measured and drained as overlay {overlay} runs them, and the demo has come about")


def cluster_network():
    run("ip", "link", "set", "lo", "up")
    run("mount", "-t", "tmpfs", "tmpfs", "/run")  # where `ip netns` keeps namespaces
    run("ip", "link", "add", "cluster", "type", "bridge")
    run("ip", "address", "add", f"{NETWORK}.1/24", "dev", "cluster")
    run("ip", "link", "set", "cluster", "up")


def hosts(pods, objects):
    """What DNS says in the cluster, as lines of /etc/hosts."""
    lines = ["127.0.0.1 localhost"]
    for service in (one for one in objects if one["kind"] == "Service"):
        name, selector = service["metadata"]["name"], service["spec"]["selector"].items()
        for pod in (pod for pod in pods if selector <= pod.labels.items()):
            lines.append(f"{pod.address} {name} {pod.name}.{name}")
    return "".join(f"{line}\n" for line in lines)


def user(place, objects, pods):
    """Whoever uses the services: with a certificate where they have some, else with the token."""
    coordinator = next(pod for pod in pods if pod.name == "coordinator-0")
    variables = {"PATH": os.environ["PATH"], "SETKEEPER_SERVER": f"{coordinator.address}:7700"}
    if any(one["kind"] == "ConfigMap" and "SETKEEPER_TLS_CERT" in one["data"] for one in objects):
        own = place / "user"
        own.mkdir()
        certificate(place, own, "user/admin")
        files = {"CERT": "tls.crt", "KEY": "tls.key", "CA": "ca.crt"}
        return variables | {f"SETKEEPER_TLS_{name}": str(own / file) for name, file in files.items()}
    (place / "token").write_text(TOKEN)
    return variables | {"SETKEEPER_TOKEN_FILE": str(place / "token")}


def authority(place):
    """What cert-manager's Issuer is in a cluster."""
    made = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "1"]
    files = ["-subj", "/CN=setkeeper", "-keyout", place / "ca.key", "-out", place / "ca.crt"]
    run(*made, *files, stderr=subprocess.DEVNULL)


def certificate(place, directory, holder):
    """What one of its Certificates is: three files."""
    key, csr, crt = directory / "tls.key", place / "request", directory / "tls.crt"
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    run("openssl", "req", *curve, "-subj", "/", "-keyout", key, "-out", csr, stderr=subprocess.DEVNULL)
    names = f"subjectAltName=critical,URI:spiffe://setkeeper/{holder}\nextendedKeyUsage=serverAuth,clientAuth\n"
    (place / "names").write_text(names)
    signed = ["openssl", "x509", "-req", "-in", csr, "-CA", place / "ca.crt", "-CAkey", place / "ca.key", "-days", "1"]
    run(*signed, "-extfile", place / "names", "-out", crt, stderr=subprocess.DEVNULL)
    (directory / "ca.crt").write_text((place / "ca.crt").read_text())


class Pod:
    """One of a workload's pods, and its one container."""

    def __init__(self, place, number, workload, replica, objects):
        self.service = workload["metadata"]["name"]
        self.name, self.network = f"{self.service}-{replica}", f"pod{number}"
        self.address = f"{NETWORK}.{number}"
        template = workload["spec"]["template"]
        self.labels, self.notes = template["metadata"]["labels"], template["metadata"].get("annotations", {})
        self.spec = template["spec"]
        self.container = self.spec["containers"][0]
        self.ports = {port["name"]: port["containerPort"] for port in self.container["ports"]}
        context = self.spec["securityContext"]
        self.user, self.group = f"{context['runAsUser']}:{context['runAsGroup']}", context["fsGroup"]
        self.place, self.root, self.log = place, place / self.name, place / f"{self.name}.log"
        self.claims = {one["metadata"]["name"] for one in workload["spec"].get("volumeClaimTemplates", [])}

    def prepare(self, program, objects, names):
        self.join()
        self.variables = self.environment(objects, names)
        self.image(program, names)
        self.close(self.volumes(objects))

    def join(self):
        """Gives the pod its network."""
        run("ip", "netns", "add", self.network)
        run("ip", "link", "add", self.network, "type", "veth", "peer", "name", "eth0", "netns", self.network)
        run("ip", "link", "set", self.network, "master", "cluster", "up")
        run("ip", "-n", self.network, "address", "add", f"{self.address}/24", "dev", "eth0")
        for link in ("lo", "eth0"):
            run("ip", "-n", self.network, "link", "set", link, "up")

    def environment(self, objects, names):
        variables = {"PATH": os.environ["PATH"]}
        dns = re.search(r"(\S+) identity-dns ", names)[1]
        service = {"IDENTITY_DNS_SERVICE_HOST": dns, "IDENTITY_DNS_SERVICE_PORT_DNS": "7753"}
        for source in self.container["envFrom"]:
            variables |= self.config_map(objects, source["configMapRef"]["name"])
        for variable in self.container.get("env", []):
            value = self.name if "valueFrom" in variable else variable["value"]
            known = variables | service
            variables[variable["name"]] = re.sub(r"\$\((\w+)\)", lambda match: known[match[1]], value)
        return variables

    def config_map(self, objects, name):
        found = (one for one in objects if one["kind"] == "ConfigMap" and one["metadata"]["name"] == name)
        return next(found)["data"]

    def image(self, program, names):
        """What deploy/Dockerfile puts into the image, and what every container gets."""
        for directory in ("usr/bin", "var/lib/setkeeper", "tmp", "etc", "proc", "dev"):
            (self.root / directory).mkdir(parents=True)
        run("install", "-m", "0755", program, self.root / "usr/bin/setkeeper")
        run("chown", self.user, self.root / "var/lib/setkeeper")
        (self.root / "etc/hosts").write_text(names)
        for device in DEVICES:
            (self.root / "dev" / device).touch()

    def volumes(self, objects):
        """Makes the volumes and the places for them, and gives where each belongs, outer ones first."""
        mounts = []
        sources = {volume["name"]: volume for volume in self.spec.get("volumes", [])}
        for mount in sorted(self.container.get("volumeMounts", []), key=lambda mount: mount["mountPath"]):
            source = sources.get(mount["name"], {})
            claim = source.get("persistentVolumeClaim", {}).get("claimName")
            directory = self.place / "volumes" / (claim or f"{self.name}-{mount['name']}")
            directory.mkdir(parents=True, exist_ok=True)
            directory.chmod(0o2775)
            run("chown", f"root:{self.group}", directory)
            if "configMap" in source:
                for name, text in self.config_map(objects, source["configMap"]["name"]).items():
                    (directory / name).write_text(text)
            if "secret" in source:
                self.secret(directory, source["secret"])
            target = pathlib.Path(mount["mountPath"])
            outer = next((above for above in reversed(mounts) if target.is_relative_to(above[1])), (self.root, "/"))
            (outer[0] / target.relative_to(outer[1])).mkdir(parents=True, exist_ok=True)
            mounts.append((directory, target))
        return mounts

    def secret(self, directory, secret):
        if secret["secretName"] == "setkeeper-token":
            (directory / "token").write_text(TOKEN)
        else:
            certificate(self.place, directory, secret["secretName"].removesuffix("-tls"))
        for file in directory.iterdir():
            file.chmod(secret["defaultMode"])
            run("chown", f"root:{self.group}", file)

    def close(self, mounts):
        """Makes the root one that cannot be written, but for what is mounted on it."""
        run("mount", "--bind", self.root, self.root)
        run("mount", "-o", "remount,bind,ro", self.root)
        run("mount", "-t", "proc", "proc", self.root / "proc")
        for device in DEVICES:
            run("mount", "--bind", f"/dev/{device}", self.root / "dev" / device)
        for directory, target in mounts:
            run("mount", "--bind", directory, self.root / target.relative_to("/"))

    def command(self, arguments):
        network = ["nsenter", f"--net=/run/netns/{self.network}"]
        user = ["chroot", f"--userspec={self.user}", f"--groups={self.group}", self.root]
        return [*network, "setpriv", "--no-new-privs", *user, "/usr/bin/setkeeper", *arguments]

    def start(self):
        log = self.log.open("w")
        # Each of these programs becomes the next, so that signals reach the last.
        command = self.command(self.container["args"])
        self.process = subprocess.Popen(command, env=self.variables, stdout=log, stderr=log)

    def ready(self):
        """What the kubelet asks, of everything it asks."""
        return all(self.probe(self.container[kind]) for kind in ("livenessProbe", "readinessProbe"))

    def probe(self, probe):
        if "grpc" in probe:
            return self.health(["-plaintext"], probe["grpc"]["port"], probe["grpc"].get("service", "")) == "SERVING"
        if "httpGet" in probe:
            return self.get(probe["httpGet"]["port"], probe["httpGet"]["path"]) is not None
        with socket.socket() as connection:
            return connection.connect_ex((self.address, self.ports[probe["tcpSocket"]["port"]])) == 0

    def get(self, port, path):
        """A page of an HTTP port, or nothing where it does not say 200."""
        try:
            url = f"http://{self.address}:{self.ports.get(port, port)}{path}"
            return urllib.request.urlopen(url, timeout=PROBE_WITHIN).read().decode()
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            return None

    def health(self, options, port, name):
        asking = ["grpcurl", "-max-time", str(PROBE_WITHIN), *options, "-d", json.dumps({"service": name})]
        asking += [f"{self.address}:{port}", "grpc.health.v1.Health/Check"]
        answer = subprocess.run(asking, capture_output=True, text=True).stdout
        return json.loads(answer).get("status") if answer else None

    def is_measured(self):
        """What Prometheus asks, as the annotations of the pod tell it."""
        if self.notes.get("prometheus.io/scrape") != "true":
            self.fail("is not for Prometheus")
        page = self.get(int(self.notes["prometheus.io/port"]), self.notes.get("prometheus.io/path", "/metrics"))
        samples = [line for line in (page or "").splitlines() if not line.startswith("#")]
        own = f"setkeeper_{self.service.replace('-', '_')}_"
        if not samples or not all(SAMPLE.fullmatch(line) and line.startswith(own) for line in samples):
            self.fail(f"says nothing that Prometheus understands, or not of {own}: {page}")
        if f"{own}ready 1" not in samples:
            self.fail(f"does not measure that it is ready: {page}")

    def knows(self, name):
        """What a resolver asks."""
        asking = ["dig", f"@{self.address}", "-p", str(self.ports["dns"]), "+short", name]
        if not subprocess.run(asking, capture_output=True, text=True).stdout.strip():
            self.fail(f"does not know {name}")

    def fail(self, why):
        print(f"{self.name} {why}\n{self.log.read_text()}")
        sys.exit(1)


def wait_until_ready(pods):
    until = time.monotonic() + READY_WITHIN
    waiting = list(pods)
    while waiting:
        waiting = [pod for pod in waiting if not pod.ready()]
        if waiting and time.monotonic() > until:
            waiting[0].fail("is not ready")
        time.sleep(0.2)


def drain(pods, caller):
    """Ends every pod as the kubelet does, all at once. Each must say so to who asks before it takes no more calls."""
    options = ["-plaintext"]
    if "SETKEEPER_TLS_CERT" in caller:
        # Names of this network are in no certificate.
        options = ["-insecure", "-cert", caller["SETKEEPER_TLS_CERT"], "-key", caller["SETKEEPER_TLS_KEY"]]
    begun = time.monotonic()
    for pod in pods:
        pod.process.send_signal(signal.SIGTERM)
    for pod in pods:
        port = pod.ports["grpc"]
        while (said := pod.health(options, port, pod.service)) != "NOT_SERVING":
            if said is None:
                pod.fail("ended, or took no more calls, before it said so")
        if pod.health(options, port, "") != "SERVING" or pod.get("metrics", "/healthz") is None:
            pod.fail("does not live while it drains")
        if pod.get("metrics", "/readyz") is not None:
            pod.fail("is ready on /readyz while it drains")
    for pod in pods:
        left = begun + pod.spec["terminationGracePeriodSeconds"] - time.monotonic()
        try:
            if pod.process.wait(left) != 0:
                pod.fail(f"ended with {pod.process.returncode}")
        except subprocess.TimeoutExpired:
            pod.fail("did not end within its grace period")


def restore(pods, backup):
    """What deploy/kubernetes/restore.yaml does to the coordinator's volume, with a backup that is piped in."""
    coordinator = next(pod for pod in pods if pod.name == "coordinator-0")
    container = yaml.safe_load((ROOT / "deploy/kubernetes/restore.yaml").read_text())["spec"]["containers"][0]
    variables = {variable["name"]: variable["value"] for variable in container["env"]}
    run(*coordinator.command(container["args"]), env={"PATH": os.environ["PATH"]} | variables, input=backup.read_bytes())


def run(*command, **options):
    subprocess.run(command, check=True, **options)


main(*sys.argv[1:])
