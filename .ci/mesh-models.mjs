// Validates objects of Istio and cert-manager, a JSON list on standard input, against the schemas of their definitions:
// types, enumerations and required fields. Runs in a folder in which @kubernetes-models/istio and
// @kubernetes-models/cert-manager are installed.
import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

async function problem(object) {
  const group = object.apiVersion.split("/")[0];
  const models = group.endsWith("istio.io") ? "@kubernetes-models/istio" : "@kubernetes-models/cert-manager";
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
