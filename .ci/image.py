"""Runs a static program as deploy/kubernetes runs its image: `image.py PROGRAM KUSTOMIZE OVERLAY`, as root, with grpcurl
and openssl.

Each container gets what its manifest gives it and no more: its arguments, its variables, its volumes, a user that is nobody
in particular, no way to gain privileges, and a root that cannot be written and holds nothing but the program. One network
namespace stands for the network of the cluster: every name leads to it. Every readiness probe must be answered well, and
the demo must come about.
"""

import json
import os
import pathlib
import re
import socket
import subprocess
import sys
import time

import yaml

ROOT = pathlib.Path(__file__).resolve().parent.parent
TOKEN = "a-token-for-this-check"
# How long the services may take to become ready: seconds, on a busy machine.
READY_WITHIN = 60
DEVICES = ("null", "zero", "urandom")


def main(program, kustomize, overlay, *inside):
    if not inside:
        alone = ["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"]
        os.execvp("unshare", [*alone, sys.executable, __file__, program, kustomize, overlay, "inside"])
    run("ip", "link", "set", "lo", "up")
    build = [kustomize, "build", ROOT / "deploy/kubernetes/overlays" / overlay]
    built = subprocess.run(build, check=True, capture_output=True, text=True).stdout
    objects = list(yaml.safe_load_all(built))
    place = pathlib.Path("/mnt")  # of this mount namespace
    run("mount", "-t", "tmpfs", "tmpfs", place)
    hosts = {one["metadata"]["name"] for one in objects if one["kind"] == "Service"}
    workloads = [one for one in objects if one["kind"] in ("Deployment", "StatefulSet")]
    authority(place)
    pods = [Pod(place, program, one, objects, hosts) for one in workloads]
    for pod in pods:
        pod.start()
    wait_until_ready(pods)
    variables = user(place, objects)
    run(program, "apply", "-f", ROOT / "deploy/examples/demo.yaml", env=variables)
    run(program, "rollout", "status", "sts/web", f"--timeout={READY_WITHIN}s", env=variables)
    print(f"{len(pods)} services are ready as overlay {overlay} runs them, and the demo has come about")


def user(place, objects):
    """Whoever uses the services: with a certificate where they have some, else with the token."""
    variables = {"PATH": os.environ["PATH"], "SETKEEPER_SERVER": "127.0.0.1:7700"}
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
    """The one container of a workload."""

    def __init__(self, place, program, workload, objects, hosts):
        self.name = workload["metadata"]["name"]
        spec = workload["spec"]["template"]["spec"]
        self.container = spec["containers"][0]
        context = spec["securityContext"]
        self.user, self.group = f"{context['runAsUser']}:{context['runAsGroup']}", context["fsGroup"]
        self.root = place / self.name
        self.log = place / f"{self.name}.log"
        self.variables = self.environment(objects)
        self.image(program, hosts)
        sources = {volume["name"]: volume for volume in spec.get("volumes", [])}
        mounts = self.volumes(place / "volumes", sources, objects)
        self.close(mounts)

    def environment(self, objects):
        variables = {"PATH": os.environ["PATH"]}
        service = {"IDENTITY_DNS_SERVICE_HOST": "127.0.0.1", "IDENTITY_DNS_SERVICE_PORT_DNS": "7753"}
        for source in self.container["envFrom"]:
            variables |= self.config_map(objects, source["configMapRef"]["name"])
        for variable in self.container.get("env", []):
            value = f"{self.name}-0" if "valueFrom" in variable else variable["value"]
            known = variables | service
            variables[variable["name"]] = re.sub(r"\$\((\w+)\)", lambda match: known[match[1]], value)
        return variables

    def config_map(self, objects, name):
        found = (one for one in objects if one["kind"] == "ConfigMap" and one["metadata"]["name"] == name)
        return next(found)["data"]

    def image(self, program, hosts):
        """What deploy/Dockerfile puts into the image, and what every container gets."""
        for directory in ("usr/bin", "var/lib/setkeeper", "tmp", "etc", "proc", "dev"):
            (self.root / directory).mkdir(parents=True)
        run("install", "-m", "0755", program, self.root / "usr/bin/setkeeper")
        run("chown", self.user, self.root / "var/lib/setkeeper")
        names = ["localhost", *sorted(hosts), *(f"{host}-0.{host}" for host in sorted(hosts))]
        (self.root / "etc/hosts").write_text(f"127.0.0.1 {' '.join(names)}\n")
        for device in DEVICES:
            (self.root / "dev" / device).touch()

    def volumes(self, place, sources, objects):
        """Makes the volumes and the places for them, and gives where each belongs, outer ones first."""
        mounts = []
        for mount in sorted(self.container.get("volumeMounts", []), key=lambda mount: mount["mountPath"]):
            source = sources.get(mount["name"], {})
            claim = source.get("persistentVolumeClaim", {}).get("claimName")
            directory = place / (claim or f"{self.name}-{mount['name']}")
            directory.mkdir(parents=True, exist_ok=True)
            directory.chmod(0o2775)
            run("chown", f"root:{self.group}", directory)
            if "configMap" in source:
                for name, text in self.config_map(objects, source["configMap"]["name"]).items():
                    (directory / name).write_text(text)
            if "secret" in source:
                self.secret(place.parent, directory, source["secret"])
            target = pathlib.Path(mount["mountPath"])
            outer = next((above for above in reversed(mounts) if target.is_relative_to(above[1])), (self.root, "/"))
            (outer[0] / target.relative_to(outer[1])).mkdir(parents=True, exist_ok=True)
            mounts.append((directory, target))
        return mounts

    def secret(self, place, directory, secret):
        if secret["secretName"] == "setkeeper-token":
            (directory / "token").write_text(TOKEN)
        else:
            certificate(place, directory, secret["secretName"].removesuffix("-tls"))
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
        user = ["chroot", f"--userspec={self.user}", f"--groups={self.group}", self.root]
        return ["setpriv", "--no-new-privs", *user, "/usr/bin/setkeeper", *arguments]

    def start(self):
        log = self.log.open("w")
        subprocess.Popen(self.command(self.container["args"]), env=self.variables, stdout=log, stderr=log)

    def ready(self):
        """What the kubelet asks."""
        probe = self.container["readinessProbe"].get("grpc")
        if not probe:
            port = self.container["ports"][0]["containerPort"]
            with socket.socket() as connection:
                return connection.connect_ex(("127.0.0.1", port)) == 0
        asking = ["grpcurl", "-plaintext", "-d", json.dumps({"service": probe["service"]})]
        asking += [f"127.0.0.1:{probe['port']}", "grpc.health.v1.Health/Check"]
        answer = subprocess.run(asking, capture_output=True, text=True).stdout
        return '"SERVING"' in answer


def wait_until_ready(pods):
    until = time.monotonic() + READY_WITHIN
    waiting = list(pods)
    while waiting:
        waiting = [pod for pod in waiting if not pod.ready()]
        if time.monotonic() > until:
            for pod in waiting:
                print(f"{pod.name} is not ready:\n{pod.log.read_text()}")
            sys.exit(1)
        time.sleep(0.2)


def run(*command, **options):
    subprocess.run(command, check=True, **options)


main(*sys.argv[1:])
