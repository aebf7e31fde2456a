//! How services end.

use std::process::Child;

use rustix::process::{Pid, Signal, kill_process};

use super::{Product, Running};

impl Product {
    /// SIGKILL to a service: every replica of it, or `up`. Returns when it is dead.
    ///
    /// # Panics
    /// When there is no such process.
    pub fn kill(&mut self, name: &str) {
        for mut child in self.take(name) {
            child.kill().expect("own child");
            child.wait().expect("own child");
        }
    }

    /// SIGKILL to every service. Returns when all are dead.
    pub fn kill_all(&mut self) {
        while let Some(last) = self.services.last() {
            let name = last.name.clone();
            self.kill(&name);
        }
    }

    /// SIGINT to `up`, as Ctrl-C does, and its exit code.
    ///
    /// # Panics
    /// When `up` does not run.
    pub async fn interrupt(&mut self) -> i32 {
        self.end("up", Signal::INT).await
    }

    /// SIGTERM to a service's process, as a supervisor sends it, and its exit code.
    ///
    /// # Panics
    /// When there is no such process, or it does not end.
    pub async fn terminate(&mut self, name: &str) -> i32 {
        self.end(name, Signal::TERM).await
    }

    /// SIGINT to every process, those first that call others, and whether all of them ended well.
    ///
    /// # Panics
    /// When one does not end.
    pub async fn interrupt_all(&mut self) -> bool {
        let mut well = true;
        while let Some(last) = self.services.last() {
            let name = last.name.clone();
            well &= self.end(&name, Signal::INT).await == 0;
        }
        well
    }

    /// The exit code of a service that is told to end by other means; of several replicas one that is not 0, if any.
    ///
    /// # Panics
    /// When there is no such process, or it does not end.
    pub async fn exit(&mut self, name: &str) -> i32 {
        let mut code = 0;
        for mut child in self.take(name) {
            let waiting = tokio::task::spawn_blocking(move || child.wait());
            let status = tokio::time::timeout(crate::WAIT_MAX, waiting).await.expect("ends in time").expect("joins");
            code = code.max(status.expect("own child").code().unwrap_or(128));
        }
        code
    }

    async fn end(&mut self, name: &str, signal: Signal) -> i32 {
        self.signal(name, signal);
        self.exit(name).await
    }

    /// A signal to every process of a service.
    ///
    /// # Panics
    /// When one cannot be signalled.
    pub fn signal(&self, name: &str, signal: Signal) {
        for running in self.services.iter().filter(|running| running.name == name) {
            kill_process(Pid::from_child(&running.process), signal).expect("own child");
        }
    }

    /// SIGTERM to one replica of a service, and the same again once it has ended.
    ///
    /// # Panics
    /// When there is no such process, or it does not end well.
    pub async fn restart(&mut self, service: &str, replica: usize) {
        let is_it = |running: &mut Running| running.name == service && running.replica == replica;
        let mut process = self.services.extract_if(.., is_it).next().expect("it was started").process;
        kill_process(Pid::from_child(&process), Signal::TERM).expect("own child");
        let ended = tokio::task::spawn_blocking(move || process.wait());
        let status = tokio::time::timeout(crate::WAIT_MAX, ended).await.expect("ends in time").expect("joins");
        assert!(status.expect("own child").success(), "{service}: {}", self.log_tail());
        self.serve_replica(service, replica);
    }

    fn take(&mut self, name: &str) -> Vec<Child> {
        let taken: Vec<_> = self.services.extract_if(.., |running| running.name == name).collect();
        assert!(!taken.is_empty(), "{name} was not started");
        taken.into_iter().map(|running| running.process).collect()
    }
}
