//! What a caller may ask of a shim.

use std::io::{self, ErrorKind};
use std::os::fd::AsFd;

use super::job::{ContainerJob, ExecJob, Job, Kind, Placed};
use super::{Shim, hello};
use crate::backend::ContainerSpec;
use crate::sandbox::wire::{ShimReply, ShimRequest};

impl Shim {
    /// Does what a caller asks, and replies at once where there is nothing to wait for.
    pub(super) fn handle(&mut self, id: u64, request: ShimRequest) {
        let reply = match request {
            ShimRequest::Hello => Some(hello()),
            ShimRequest::Watch => {
                if let Some(client) = self.clients.get_mut(&id) {
                    client.watching = true;
                }
                Some(ShimReply::Done)
            }
            ShimRequest::Node => {
                let descriptors: Vec<_> = self.node.iter().map(AsFd::as_fd).collect();
                let sent = self.clients.get_mut(&id).map(|client| client.send_with(&ShimReply::Done, &descriptors));
                if let Some(Err(error)) = sent {
                    eprintln!("node: {error}");
                    self.drop_client(id);
                }
                None
            }
            ShimRequest::Start { spec } => self.start(id, *spec).unwrap_or_else(|error| Some(refused(&error))),
            ShimRequest::Signal { container, signal } => Some(self.signal(&container, signal)),
            ShimRequest::Kill { container } => match self.running(&container) {
                Some(job) => {
                    self.kill_job(job, Some(id));
                    None
                }
                None => Some(ShimReply::Done),
            },
            ShimRequest::Exec { container, command, timeout_ms } => {
                self.exec(id, &container, command, timeout_ms).unwrap_or_else(|error| Some(refused(&error)))
            }
            ShimRequest::End => {
                self.ending.get_or_insert_default().push(id);
                for job in self.jobs.keys().copied().collect::<Vec<_>>() {
                    self.kill_job(job, None);
                }
                None
            }
        };
        if let Some(reply) = reply {
            self.reply(id, &reply);
        }
    }

    fn start(&mut self, client: u64, spec: ContainerSpec) -> io::Result<Option<ShimReply>> {
        if self.ending.is_some() {
            return Err(io::Error::new(ErrorKind::ResourceBusy, "the sandbox is ending"));
        }
        if let Some(id) = self.running(&spec.name) {
            let Some(Job { kind: Kind::Container(container), .. }) = self.jobs.get_mut(&id) else { return Ok(None) };
            if container.spec.instance != spec.instance {
                let message = format!("instance {} of {} still runs", container.spec.instance, spec.name);
                return Err(io::Error::new(ErrorKind::ResourceBusy, message));
            }
            if container.running {
                return Ok(Some(ShimReply::Done));
            }
            container.start_waiters.push(client);
            return Ok(None);
        }
        if self.directory.started(&spec.name, spec.instance)?.is_some() {
            return Ok(Some(ShimReply::Done));
        }
        let id = self.new_id();
        let job = ContainerJob::start(&self.directory, &self.record, spec, client)?;
        self.jobs.insert(id, job);
        Ok(None)
    }

    fn exec(
        &mut self,
        client: u64,
        container: &str,
        command: Vec<String>,
        timeout_ms: u64,
    ) -> io::Result<Option<ShimReply>> {
        let found = self.running(container).and_then(|id| self.jobs.get(&id));
        let Some(Job { kind: Kind::Container(target), placed: Placed { process: Some(init), .. }, .. }) = found else {
            return Ok(Some(ShimReply::NotRunning));
        };
        if !target.running || self.ending.is_some() {
            return Ok(Some(ShimReply::NotRunning));
        }
        let job = ExecJob::start(&self.record, &target.spec, *init, client, command, timeout_ms)?;
        let id = self.new_id();
        self.jobs.insert(id, job);
        Ok(None)
    }

    fn signal(&mut self, container: &str, signal: i32) -> ShimReply {
        let job = self.running(container).and_then(|id| self.jobs.get_mut(&id));
        match job {
            Some(job) => match job.signal(signal) {
                Ok(()) => ShimReply::Done,
                Err(error) => refused(&error),
            },
            None => ShimReply::NotRunning,
        }
    }

    /// The job of a container's current instance, starting, running, or not recorded yet.
    fn running(&self, name: &str) -> Option<u64> {
        let is = |job: &Job| matches!(&job.kind, Kind::Container(container) if container.spec.name == name);
        self.jobs.iter().find_map(|(id, job)| is(job).then_some(*id))
    }

    fn kill_job(&mut self, id: u64, waiter: Option<u64>) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        if let Kind::Container(container) = &mut job.kind {
            container.kill_waiters.extend(waiter);
        }
        job.kill(self.record.isolation.processes);
    }
}

fn refused(error: &io::Error) -> ShimReply {
    ShimReply::Error { message: error.to_string() }
}
