//! The machines that run pods: how to call them, whether they are there, and what becomes of those that are not.

pub(crate) mod fence;
pub(crate) mod lifecycle;
pub(crate) mod presence;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use api::manifest::Kind;
use service_kit::status::StatusBuilder;
use service_kit::{Channel, Context, Role, Target, Token};
use tonic::{Code, Status};

use crate::error::SERVICE;
use crate::objects::condition;
use crate::world::{Change, Key, Object, World};

/// Why a machine is ready.
pub(crate) const REGISTERED: (&str, &str) = ("NodeRegistered", "its runtime has registered");

/// Channels to the runtimes of registered machines.
#[derive(Debug, Clone)]
pub(crate) struct Machines {
    world: Arc<World>,
    token: Option<Token>,
    context: Context,
    channels: Arc<Mutex<HashMap<String, Channel>>>,
}

impl Machines {
    pub(crate) fn new(world: Arc<World>, token: Option<Token>, context: Context) -> Self {
        Self { world, token, context, channels: Arc::default() }
    }

    /// Names of all machines.
    pub(crate) fn names(&self) -> Vec<String> {
        self.world.list(Kind::Node, None).iter().map(|node| node.key.name.clone()).collect()
    }

    /// A channel to the runtime of a machine, shared by all calls to it.
    pub(crate) fn channel(&self, name: &str) -> Result<Channel, Status> {
        let (address, target) = self.find(name)?;
        let mut channels = self.channels.lock().expect("no holder of this lock panics");
        let channel = channels.entry(address);
        Ok(channel.or_insert_with(|| self.connect(&target)).clone())
    }

    /// A channel to the runtime of a machine for one call that may hold back what it is sent.
    pub(crate) fn own_channel(&self, name: &str) -> Result<Channel, Status> {
        let (_, target) = self.find(name)?;
        Ok(self.connect(&target))
    }

    fn connect(&self, target: &Target) -> Channel {
        self.context.connect(Role::PodRuntime, target, self.token.as_ref()).called_by(SERVICE)
    }

    fn find(&self, name: &str) -> Result<(String, Target), Status> {
        let node = self.world.get(&Key::new(Kind::Node, "", name));
        let node = node.ok_or_else(|| unreachable(name, "it has not registered"))?;
        let address = node.annotation("setkeeper.dev/runtime-address").unwrap_or_default();
        let target: Target = address.parse().map_err(|_| unreachable(name, "its address makes no sense"))?;
        Ok((address.to_owned(), target))
    }
}

/// Whether the runtime of a machine says what becomes of its pods.
pub(crate) fn answers(machine: &Object) -> bool {
    condition(&machine.value, "Ready").is_some_and(|ready| ready.get("status").is_some_and(|status| status == "True"))
}

/// The machines on which pods can run, those that answer first.
pub(crate) fn usable(machines: &[Arc<Object>]) -> impl Iterator<Item = &Arc<Object>> {
    let unfenced = machines.iter().filter(|machine| !fence::is_fenced(machine));
    let (answering, silent): (Vec<_>, Vec<_>) = unfenced.partition(|machine| answers(machine));
    answering.into_iter().chain(silent)
}

/// Whether a machine comes, falls silent, is fenced, or is heard again: what is to run on it may do otherwise now.
pub(crate) fn comes_or_goes(change: &Change) -> bool {
    let state = |machine: &Arc<Object>| (fence::is_fenced(machine), answers(machine));
    change.old.as_ref().map(state) != change.new.as_ref().map(state)
}

/// The answer where a machine cannot be called.
pub(crate) fn unreachable(name: &str, why: &str) -> Status {
    let message = format!("machine {name:?} cannot be reached: {why}");
    StatusBuilder::new(SERVICE, Code::Unavailable, "RUNTIME_UNAVAILABLE", message)
        .retry_after(service_kit::status::RETRY_DELAY)
        .build()
}
