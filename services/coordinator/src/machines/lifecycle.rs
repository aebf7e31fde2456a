//! What becomes of machines that say nothing: they are told, and their pods stay; and of fenced ones, whose pods are released.

use std::collections::BTreeMap;
use std::sync::Arc;

use api::manifest::Kind;
use domain::Timestamp;
use domain::fencing::SILENCE_MAX;

use super::fence;
use super::presence::Presence;
use super::{REGISTERED, answers};
use crate::driver::{Controller, Outcome};
use crate::events::{self, Event};
use crate::objects::{condition, object_mut, set_condition, time_text};
use crate::pods::placement::was_placed;
use crate::store::CommitError;
use crate::world::{Change, Key, Object, Transaction, View, World};

/// Reason of a machine of which nobody knows whether it runs; as in Kubernetes.
const UNKNOWN: &str = "NodeStatusUnknown";

/// Looks after machines.
#[derive(Debug)]
pub(crate) struct Lifecycle {
    pub(crate) world: Arc<World>,
    pub(crate) presence: Arc<Presence>,
    pub(crate) context: service_kit::Context,
}

impl Lifecycle {
    /// Says that a machine is silent once it has been for long enough, and that it is back.
    fn note(&self, machine: &Object, now: Timestamp) -> (Transaction, Outcome) {
        let mut transaction = Transaction::default();
        let ready = condition(&machine.value, "Ready");
        let unknown = ready.and_then(|ready| ready.get("reason")?.as_str()) == Some(UNKNOWN);
        let silence = self.presence.silence(&machine.key.name);
        let mut value = machine.value.clone();
        let status = object_mut(&mut value, "status");
        match silence {
            Some(silence) if silence < SILENCE_MAX => {
                let outcome = Outcome::At(now.plus(SILENCE_MAX.saturating_sub(silence)));
                return (transaction, if unknown { Outcome::Settled } else { outcome });
            }
            Some(silence) if !unknown => {
                let (name, since) = (&machine.key.name, time_text(now.minus(silence)));
                let message = format!(
                    "machine {name} has said nothing since {since}; its pods may run, and keep their places: start it or its \
                     runtime again, or, if it is certain that nothing runs there, `setkeeper fence {name}`"
                );
                set_condition(status, "Ready", "Unknown", (UNKNOWN, &message), now);
                let event = Event::warning("NodeNotReady", message);
                let about = (&machine.key, &*machine.uid().0);
                events::record(&mut transaction, &self.world, about, "node-lifecycle", &event, now);
                transaction.update(machine, value);
            }
            None if unknown => {
                set_condition(status, "Ready", "True", REGISTERED, now);
                transaction.update(machine, value);
            }
            _ => {}
        }
        (transaction, Outcome::Settled)
    }
}

/// What is known of machines whose runtime does not say what becomes of their pods, by name.
pub(crate) fn lost(view: &View<'_>) -> BTreeMap<String, String> {
    let machines = view.list(Kind::Node, None);
    let words = |machine: &Arc<Object>| {
        let message = condition(&machine.value, "Ready")?.get("message")?.as_str()?;
        Some((machine.key.name.clone(), message.to_owned()))
    };
    machines.iter().filter(|machine| !answers(machine)).filter_map(words).collect()
}

impl Controller for Lifecycle {
    /// Name of a machine.
    type Key = String;
    const NAME: &'static str = "node-lifecycle";

    fn keys(&self, world: &World) -> Vec<String> {
        world.list(Kind::Node, None).iter().map(|machine| machine.key.name.clone()).collect()
    }

    fn affected(&self, world: &World, change: &Change) -> Vec<String> {
        match change.key.kind {
            Kind::Node => vec![change.key.name.clone()],
            Kind::Pod => {
                let name = change.new.as_ref().map(|pod| pod.text("/spec/nodeName")).filter(|name| !name.is_empty());
                let fenced = |name: &&str| {
                    world.get(&Key::new(Kind::Node, "", name)).is_some_and(|machine| fence::is_fenced(&machine))
                };
                name.filter(fenced).map(str::to_owned).into_iter().collect()
            }
            _ => Vec::new(),
        }
    }

    async fn called(&self) -> Vec<String> {
        self.presence.news().await
    }

    async fn pass(self: Arc<Self>, name: String) -> Outcome {
        let now = self.context.clock.now();
        let Some(machine) = self.world.get(&Key::new(Kind::Node, "", &name)) else { return Outcome::Settled };
        let silent = self.presence.silence(&name).is_some();
        let (transaction, outcome) = match fence::is_fenced(&machine) {
            true if silent => {
                let pods = self.world.list(Kind::Pod, None);
                // One that was made since, and names the machine, does not wait for it only to end.
                let here =
                    |pod: &&Arc<Object>| pod.text("/spec/nodeName") == name && (was_placed(pod) || pod.deleting());
                let here = pods.iter().filter(here);
                let (transaction, more) = fence::release_pods(&self.world, &machine, here, now);
                (transaction, if more { Outcome::At(now) } else { Outcome::Settled })
            }
            // It came back while somebody fenced it. What was released stays so.
            true => (fence::lift(&machine, now), Outcome::Settled),
            false => self.note(&machine, now),
        };
        match self.world.commit(transaction).await {
            Ok(_) => outcome,
            Err(CommitError::Conflict { .. }) => Outcome::Stale,
            Err(error) => Outcome::Failed(error.to_string()),
        }
    }
}
