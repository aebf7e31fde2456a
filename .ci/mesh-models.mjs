// Validates objects of Istio, cert-manager and the Prometheus Operator, a JSON list on standard input, against the schemas of
// their definitions: types, enumerations and required fields. Runs in a folder in which the packages of MODELS are installed.
import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

const MODELS = {
  "networking.istio.io": "@kubernetes-models/istio",
  "security.istio.io": "@kubernetes-models/istio",
  "cert-manager.io": "@kubernetes-models/cert-manager",
  "monitoring.coreos.com": "@kubernetes-models/prometheus-operator",
};

async function problem(object) {
  const models = MODELS[object.apiVersion.split("/")[0]];
  const path = `node_modules/${models}/${object.apiVersion}/${object.kind}.js`;
  const { [object.kind]: Model } = await import(pathToFileURL(path));
  try {
    new Model(object).validate();
  } catch (error) {
    return error.message;
  }
}

// It is of use only if it refuses.
const metadata = { name: "wrong" };
const wrong = [
  { apiVersion: "security.istio.io/v1", kind: "PeerAuthentication", metadata, spec: { mtls: { mode: "SOMETIMES" } } },
  { apiVersion: "cert-manager.io/v1", kind: "Certificate", metadata, spec: { secretName: "without-issuer" } },
  { apiVersion: "monitoring.coreos.com/v1", kind: "PodMonitor", metadata, spec: { podMetricsEndpoints: [] } },
];
for (const object of wrong) {
  if (!(await problem(object))) throw new Error(`a wrong ${object.kind} was not refused: the validation does nothing`);
}

for (const object of JSON.parse(readFileSync(0, "utf8"))) {
  const message = await problem(object);
  if (message) {
    console.error(`${object.kind} ${object.metadata.name}: ${message}`);
    process.exit(1);
  }
}
