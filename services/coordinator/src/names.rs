//! Bringing names to identity-dns: what is stored becomes facts, facts are published, and who must wait for that can.
//!
//! **Every replica is told.** Each address of identity-dns has a publisher of its own ([`replica`]), and none waits for
//! another. Publishers are level-triggered: each commit says which objects to look at, what they are is read from the world.
//! Changes go out as deltas; where it is not certain what a replica serves, everything goes out anew, to that one. Its
//! addresses are looked up again while this goes on, so that replicas come and go without a restart.
//!
//! **When names are served**: as soon as every replica that answers has acknowledged them, and one at least ([`progress`]).
//! A replica answers until it has owed an acknowledgement for [`SILENT_AFTER`]; then nobody waits for it, until it has
//! acknowledged everything. A pod is called ready, and one that is deleted is told to stop, only after that. So
//! - whoever asks a replica that the coordinator reaches finds every pod that is ready, and none that was told to stop;
//! - a replica that is down or hangs holds up a change once, for a second;
//! - where none answers, no pod becomes ready, and deletions go on after a bounded wait, with an event that says so.
//!
//! **What is not promised.** A replica that the coordinator cannot reach, and clients can, goes on to answer what it was told
//! last: names that outlive the coordinator are worth that (a replica cannot tell the two apart). Each of its answers is
//! believed for its TTL, and it gives them until the coordinator reaches it again. The same for the second or so that a
//! replica takes to be found out after a restart with names that it kept on disk.

mod announced;
mod change;
mod facts;
mod inbox;
mod progress;
mod replica;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use api::manifest::Kind;
use domain::zone::ObjectName;
use service_kit::metrics::Page;
use service_kit::{Channel, Context};
use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use tokio::sync::{broadcast, watch};
use tokio::task::{AbortHandle, JoinSet};
use tracing::Span;

use self::announced::Announced;
use self::inbox::{Due, Inbox};
use self::progress::{Level, Progress, Roll, Silence};
use self::replica::Replica;
use crate::store::StoreRevision;
use crate::world::{Commit, Key, Object, World};

/// How often it is checked that a replica still serves what it was told, and one that does not answer is tried again.
const CHECK_EVERY: Duration = Duration::from_secs(1);

/// How long a replica may owe an acknowledgement and is waited for. Many times what one takes; less than a deletion waits
/// for its names, so that a replica which hangs does not make all others too late.
const SILENT_AFTER: Duration = Duration::from_secs(1);

/// Names cannot be served now.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("identity-dns does not answer: {0}")]
pub(crate) struct NotPublished(String);

/// Brings names to every replica.
#[derive(Debug)]
pub(crate) struct Names {
    world: Arc<World>,
    context: Context,
    epoch: u64,
    /// The last publication. One count for all replicas: an address that is lost and found again is told no older one.
    generation: AtomicU64,
    announced: Announced,
    group: Mutex<Group>,
    roll: watch::Sender<Roll>,
    published: watch::Sender<StoreRevision>,
}

/// Who is told, and up to where all of them are to be.
#[derive(Debug, Default)]
struct Group {
    level: Level,
    members: BTreeMap<String, Member>,
}

#[derive(Debug)]
struct Member {
    channel: Channel,
    inbox: Arc<Inbox>,
    publisher: AbortHandle,
}

impl Names {
    /// Starts publishing to every server that the channel leads to.
    pub(crate) fn start(
        world: Arc<World>,
        channel: Channel,
        epoch: u64,
        context: Context,
        tasks: &mut JoinSet<()>,
    ) -> Arc<Self> {
        let names = Self::follow(world, epoch, context, tasks);
        tasks.spawn(names.clone().follow_replicas(channel));
        names
    }

    /// The same without any server yet.
    fn follow(world: Arc<World>, epoch: u64, context: Context, tasks: &mut JoinSet<()>) -> Arc<Self> {
        // Changes first: what is read from here on is at least as new.
        let commits = world.subscribe();
        let level = Level { revision: world.revision(), announcement: 0 };
        let names = Arc::new(Self {
            world,
            context,
            epoch,
            generation: AtomicU64::new(0),
            announced: Announced::default(),
            group: Mutex::new(Group { level, members: BTreeMap::new() }),
            roll: watch::Sender::default(),
            published: watch::Sender::default(),
        });
        let read = names.roll.subscribe();
        names.context.metrics.add(move |page| write(&read.borrow(), page));
        tasks.spawn(names.clone().follow_commits(commits));
        names
    }

    /// Serves the names of a pod as if it were stored like this. Returns when queries see them.
    ///
    /// # Errors
    /// When no replica can be told.
    ///
    /// # Cancel safety
    /// The announcement stands, until it is withdrawn or the store says otherwise.
    pub(crate) async fn announce(&self, pod: &Object) -> Result<(), NotPublished> {
        let Some(facts) = facts::pod(pod) else { return Ok(()) };
        self.announced.put(&self.world, facts);
        let cause = Span::current();
        let announcement = self.tell(
            |level| level.announcement += 1,
            |due| {
                due.look_at([pod.key.clone()]);
                due.cause = Some(cause.clone());
            },
        );
        let mut roll = self.roll.subscribe();
        let settled = roll.wait_for(|roll| roll.announced(announcement).is_some());
        let ends = || NotPublished("the coordinator ends".to_owned());
        tokio::select! {
            biased;
            roll = settled => roll.ok().and_then(|roll| roll.announced(announcement)).unwrap_or_else(|| Err(ends())),
            () = self.context.shutdown.cancelled() => Err(ends()),
        }
    }

    /// A pod is, after all, no more than the store says of it: what was announced of it is no longer true.
    pub(crate) fn withdraw(&self, key: &Key) {
        if self.announced.withdraw(&name_of(key)) {
            self.tell(|_| {}, |due| due.look_at([key.clone()]));
        }
    }

    /// Whether what is stored at `revision` is served.
    pub(crate) fn is_published(&self, revision: StoreRevision) -> bool {
        *self.published.borrow() >= revision
    }

    /// Waits until what is stored at `revision` is served; false if it is not within `timeout`.
    pub(crate) async fn wait_published(&self, revision: StoreRevision, timeout: Duration) -> bool {
        let mut published = self.published.subscribe();
        tokio::time::timeout(timeout, published.wait_for(|seen| *seen >= revision)).await.is_ok_and(|seen| seen.is_ok())
    }

    /// The revision up to which what is stored is served, as it rises.
    pub(crate) fn published(&self) -> watch::Receiver<StoreRevision> {
        self.published.subscribe()
    }

    /// A channel to each replica, and whether it answers, so that changes wait for it.
    pub(crate) fn replicas(&self) -> Vec<(Channel, bool)> {
        // In this order, as whoever changes who is told.
        let (group, roll) = (self.group(), self.roll.borrow());
        let answers = |address| roll.replicas.get(address).is_some_and(|replica| replica.silent.is_none());
        group.members.iter().map(|(address, member)| (member.channel.clone(), answers(address))).collect()
    }

    /// Makes more due to every replica, and says which announcement was the last.
    fn tell(&self, rise: impl FnOnce(&mut Level), add: impl Fn(&mut Due)) -> u64 {
        let mut group = self.group();
        rise(&mut group.level);
        let level = group.level;
        for member in group.members.values() {
            member.inbox.add(|due| {
                due.level = level;
                add(due);
            });
        }
        level.announcement
    }

    async fn follow_commits(self: Arc<Self>, mut commits: broadcast::Receiver<Arc<Commit>>) {
        loop {
            let mut received = tokio::select! {
                biased;
                () = self.context.shutdown.cancelled() => return,
                received = commits.recv() => received,
            };
            // Revision first: every change up to it is in the queue by now, and what is read after it is at least as new.
            let revision = self.world.revision();
            let (mut changed, mut missed) = (BTreeSet::new(), false);
            loop {
                match received {
                    Ok(commit) => collect(&commit, &mut changed),
                    Err(RecvError::Lagged(_)) => missed = true,
                    Err(RecvError::Closed) => return,
                }
                received = match commits.try_recv() {
                    Ok(commit) => Ok(commit),
                    Err(TryRecvError::Lagged(many)) => Err(RecvError::Lagged(many)),
                    Err(TryRecvError::Closed) => return,
                    Err(TryRecvError::Empty) => break,
                };
            }
            let rise = |level: &mut Level| level.revision = revision.max(level.revision);
            if missed {
                self.announced.forget(&self.world);
                self.tell(rise, Due::look_at_everything);
            } else {
                self.announced.forget_changed(&self.world, changed.iter());
                self.tell(rise, |due| due.look_at(changed.iter().cloned()));
            }
        }
    }

    /// Keeps a publisher for every address there is.
    async fn follow_replicas(self: Arc<Self>, channel: Channel) {
        let mut publishers = JoinSet::new();
        loop {
            let found = tokio::select! {
                biased;
                () = self.context.shutdown.cancelled() => return,
                Some(ended) = publishers.join_next() => match ended {
                    Err(error) if error.is_cancelled() => continue,
                    // It broke, and its replica is told nothing any more.
                    _ => return,
                },
                found = channel.each() => found,
            };
            match found {
                Ok(found) => self.be(found, &mut publishers),
                Err(status) => self.update(|roll| {
                    if roll.unknown.is_none() {
                        tracing::warn!(error = status.message(), "no replica of identity-dns is known; looking again");
                    }
                    roll.unknown = Some(status.message().to_owned());
                }),
            }
            tokio::select! {
                biased;
                () = self.context.shutdown.cancelled() => return,
                () = self.context.clock.sleep(CHECK_EVERY) => {}
            }
        }
    }

    /// Tells these replicas, and no others.
    fn be(self: &Arc<Self>, found: Vec<Channel>, publishers: &mut JoinSet<()>) {
        let found: BTreeMap<String, Channel> =
            found.into_iter().map(|channel| (channel.target().to_owned(), channel)).collect();
        let mut group = self.group();
        let mut gone = Vec::new();
        group.members.retain(|address, member| {
            let stays = found.contains_key(address);
            if !stays {
                member.publisher.abort();
                gone.push(address.clone());
            }
            stays
        });
        let new: Vec<_> = found.into_iter().filter(|(address, _)| !group.members.contains_key(address)).collect();
        if gone.is_empty() && new.is_empty() {
            return;
        }
        self.update(|roll| {
            roll.unknown = None;
            gone.iter().for_each(|address| drop(roll.replicas.remove(address)));
            roll.replicas.extend(new.iter().map(|(address, _)| (address.clone(), Progress::default())));
        });
        for (address, channel) in new {
            let inbox = Arc::new(Inbox::new(group.level));
            let publisher = publishers.spawn(Replica::new(self.clone(), channel.clone(), inbox.clone()).run());
            group.members.insert(address, Member { channel, inbox, publisher });
        }
    }

    fn next_generation(&self) -> u64 {
        self.generation.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// A replica serves what was due up to there.
    fn acknowledged(&self, address: &str, level: Level) {
        self.update(|roll| {
            let Some(replica) = roll.replicas.get_mut(address) else { return };
            if replica.silent.is_some() {
                tracing::info!(replica = address, "a replica of identity-dns has every name again");
            }
            *replica = Progress { served: level, silent: None };
        });
    }

    /// A replica has owed its acknowledgement for too long; up to the announcement `in_vain` it was told, and refused.
    fn silent(&self, address: &str, in_vain: u64, why: &str) {
        self.update(|roll| {
            let Some(replica) = roll.replicas.get_mut(address) else { return };
            if replica.silent.is_none() {
                tracing::warn!(
                    replica = address,
                    error = why,
                    "a replica of identity-dns is not up to date; trying again"
                );
            }
            replica.silent = Some(Silence { announcement: in_vain, why: why.to_owned() });
        });
    }

    fn update(&self, change: impl FnOnce(&mut Roll)) {
        self.roll.send_modify(change);
        let served = self.roll.borrow().published();
        self.published.send_if_modified(|published| served > std::mem::replace(published, served.max(*published)));
    }

    fn group(&self) -> MutexGuard<'_, Group> {
        self.group.lock().expect("no holder of this lock panics")
    }
}

/// Adds the objects of a commit that names depend on.
fn collect(commit: &Commit, changed: &mut BTreeSet<Key>) {
    let named = |kind: Kind| matches!(kind, Kind::Pod | Kind::Service | Kind::Namespace);
    changed.extend(commit.changes.iter().filter(|change| named(change.key.kind)).map(|change| change.key.clone()));
}

fn name_of(key: &Key) -> ObjectName {
    ObjectName::new(key.namespace.clone(), key.name.clone())
}

/// How each replica is. Its address is a label: a target has few, and their number has a bound.
fn write(roll: &Roll, page: &mut Page) {
    for (address, replica) in &roll.replicas {
        let labels = [("replica", address.as_str())];
        let answers = f64::from(u8::from(replica.silent.is_none()));
        let help = "Whether this replica of identity-dns acknowledges names, so that changes wait for it: 1 or 0.";
        page.gauge("setkeeper_coordinator_names_replica_answers", help, &labels, answers);
        let help = "State revision whose names this replica of identity-dns has acknowledged.";
        page.gauge("setkeeper_coordinator_names_replica_revision", help, &labels, replica.served.revision.0 as f64);
    }
}
