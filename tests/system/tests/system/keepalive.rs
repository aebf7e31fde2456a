//! Pods live, are asked and are restarted whoever else is dead; and nobody is confused when the dead come back.

use std::path::PathBuf;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use support::{Process, Product, in_pod, until};

use super::{mark, separate};

/// Every service but the one that runs pods.
const OTHERS: [&str; 5] = ["coordinator", "ordinal-scheduler", "update-planner", "volume-claim", "identity-dns"];

/// Pods that count their starts and probes, end with 7 on SIGTERM, and are not ready while there is a file `sick`.
fn patients(mark: &str, replicas: u32) -> String {
    format!(
        r#"
apiVersion: apps/v1
kind: StatefulSet
metadata: {{name: patient}}
spec:
  serviceName: patient
  replicas: {replicas}
  podManagementPolicy: Parallel
  selector: {{matchLabels: {{app: patient}}}}
  template:
    metadata: {{labels: {{app: patient}}}}
    spec:
      terminationGracePeriodSeconds: 5
      containers:
        - name: main
          image: busybox
          command: ["sh", "-c", "trap 'exit 7' TERM; echo start >> /data/starts; while :; do sleep 0.1; done"]
          env:
            - {{name: MARK, value: "{mark}"}}
            - {{name: POD_NAME, valueFrom: {{fieldRef: {{fieldPath: metadata.name}}}}}}
          readinessProbe:
            exec: {{command: ["sh", "-c", "echo probe >> /data/probes; test ! -e /data/sick"]}}
            periodSeconds: 1
            timeoutSeconds: 10
            failureThreshold: 1
          volumeMounts: [{{name: data, mountPath: /data}}]
  volumeClaimTemplates:
    - metadata: {{name: data}}
      spec: {{accessModes: [ReadWriteOnce], resources: {{requests: {{storage: 1Mi}}}}}}
"#
    )
}

/// A pod, seen from outside: its process and its volume, and no service is asked.
struct Patient {
    name: String,
    mark: String,
    data: PathBuf,
}

impl Patient {
    async fn find(product: &Product, mark: &str, ordinal: u32) -> Self {
        let name = format!("patient-{ordinal}");
        let claim = product.get(&["pvc", &format!("data-{name}")]).await.expect("its claim exists");
        let volume = claim["spec"]["volumeName"].as_str().expect("is bound").to_owned();
        let volume = product.get(&["pv", &volume]).await.expect("exists");
        let data = volume["spec"]["hostPath"]["path"].as_str().expect("a directory").into();
        Self { name, mark: mark.to_owned(), data }
    }

    fn main(&self) -> Option<Process> {
        let all = in_pod(&[&format!("MARK={}", self.mark), &format!("POD_NAME={}", self.name)]);
        all.into_iter().find(|process| process.command.iter().any(|part| part.starts_with("trap")))
    }

    fn strike(&self, signal: Signal) -> Process {
        let main = self.main().expect("it runs");
        let pid = Pid::from_raw(main.pid.cast_signed()).expect("not zero");
        kill_process(pid, signal).expect("its process may be struck");
        main
    }

    fn lines(&self, file: &str) -> usize {
        std::fs::read_to_string(self.data.join(file)).unwrap_or_default().lines().count()
    }

    /// Returns when it has said so often that it starts: its process is seen before it says so.
    async fn has_started(&self, times: usize) {
        until(&format!("{} has started {times} times", self.name), || async {
            let now = self.lines("starts");
            if now == times { Ok(()) } else { Err(now.to_string()) }
        })
        .await;
    }

    /// Returns when it was asked a few times more.
    async fn is_asked(&self) {
        let before = self.lines("probes");
        until(&format!("{} is asked whether it is ready", self.name), || async {
            let now = self.lines("probes");
            if now >= before + 3 { Ok(()) } else { Err(format!("{now}")) }
        })
        .await;
    }

    /// Returns when another process runs than `old`.
    async fn runs_again(&self, old: &Process) {
        until(&format!("{} runs again", self.name), || async {
            match self.main() {
                Some(now) if now != *old => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .await;
    }
}

async fn apply(product: &Product, mark: &str, replicas: u32) -> Vec<Patient> {
    let applied = product.run_with(&["apply", "-f", "-"], &patients(mark, replicas)).await;
    assert_eq!(applied.code, 0, "{applied:?}");
    let mut all = Vec::new();
    for ordinal in 0..replicas {
        product.ready(&[&format!("patient-{ordinal}")]).await;
        all.push(Patient::find(product, mark, ordinal).await);
    }
    all
}

fn ready(pod: &Value) -> Value {
    let mut conditions = pod["status"]["conditions"].as_array().into_iter().flatten();
    conditions.find(|condition| condition["type"] == "Ready").cloned().unwrap_or_default()
}

/// Returns when the pod's only container ended last with `code`, was restarted `restarts` times, and is ready or not.
async fn told(product: &Product, patient: &Patient, code: i32, restarts: u32, is_ready: &str) {
    until(&format!("{} is told right", patient.name), || async {
        let pod = product.get(&["pod", &patient.name]).await.ok_or("does not exist")?;
        let status = &pod["status"]["containerStatuses"][0];
        let right = status["restartCount"] == restarts
            && status["lastState"]["terminated"]["exitCode"] == code
            && status["state"]["running"].is_object()
            && ready(&pod)["status"] == is_ready;
        if right { Ok(()) } else { Err(pod["status"].to_string()) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_every_other_service_dead_pods_are_restarted_and_asked() {
    let mut product = separate().await;
    let patients = apply(&product, &mark("alone"), 1).await;
    let patient = &patients[0];
    OTHERS.iter().for_each(|service| product.kill(service));
    let first = patient.strike(Signal::KILL);
    patient.runs_again(&first).await;
    patient.has_started(2).await;
    patient.is_asked().await;
    std::fs::write(patient.data.join("sick"), "").expect("its volume can be written");
    patient.is_asked().await;
    let alone = patient.main();

    OTHERS.iter().for_each(|service| product.serve(service));
    product.answers().await;
    told(&product, patient, 137, 1, "False").await;
    std::fs::remove_file(patient.data.join("sick")).expect("its volume can be written");
    told(&product, patient, 137, 1, "True").await;
    assert_eq!((patient.main(), patient.lines("starts")), (alone, 2), "who comes back restarts nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_runtime_finds_its_pods_again_and_knows_how_others_ended() {
    let mut product = separate().await;
    let patients = apply(&product, &mark("runtime"), 2).await;
    let mains = || patients.iter().map(Patient::main).collect::<Vec<_>>();
    let before = mains();
    let pod = product.get(&["pod", "patient-0"]).await.expect("exists");

    product.kill("pod-runtime");
    assert_eq!(mains(), before, "pods outlive their runtime");
    product.serve("pod-runtime");
    for patient in &patients {
        patient.is_asked().await;
    }
    assert_eq!(mains(), before, "pods are not restarted");
    let again = product.get(&["pod", "patient-0"]).await.expect("exists");
    assert_eq!(ready(&again), ready(&pod), "P-71: readiness does not flicker");
    assert_eq!(again["status"]["containerStatuses"], pod["status"]["containerStatuses"]);
    let events = product.ok(&["get", "events"]).await;
    assert!(!events.contains("Unhealthy"), "{events}");

    product.kill("pod-runtime");
    let ended = patients[1].strike(Signal::TERM);
    until("nobody restarts it while the runtime is dead", || async {
        patients[1].main().map_or(Ok(()), |process| Err(format!("{process:?}")))
    })
    .await;
    product.serve("pod-runtime");
    patients[1].runs_again(&ended).await;
    told(&product, &patients[1], 7, 1, "True").await;
    assert_eq!((patients[0].main(), patients[0].lines("starts")), (before[0].clone(), 1));
    patients[1].has_started(2).await;
}
