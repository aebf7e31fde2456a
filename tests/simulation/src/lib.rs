//! The whole system under simulated faults, from a seed.
//!
//! One process runs all services, unmodified, each as a host of a simulated network ([`network`], turmoil below it): the
//! real tonic and hyper over simulated connections, the real store on a simulated disk ([`store`]), time that is simulated
//! too ([`clock`]). A simulated machine ([`machine`]) runs the pods, whose runtime ([`runtime`]) speaks the real
//! `NodeService`; people ([`user`]) edit through the public API; a resolver ([`resolver`]) asks the real DNS server. The swarm
//! ([`swarm`]) injects faults for a while and stops; then the set must become as people want it, and go quiet ([`run`]).
//!
//! **Faults**, as they are numbered where invariants are; the summary of many runs counts each by its kind. *Drawn*: on in a
//! third or a quarter of the seeds, each on its own, and then now and then for fifteen seconds. *Enumerated*: at every point
//! of three scenarios, every time ([`campaign`]).
//!
//! | fault | where it is injected | how often |
//! |---|---|---|
//! | F1 crash | before and after a commit ([`store`]); at both ends of a call, before it is sent, before and after its work, after its answer ([`calls`]); at any message, any moment ([`place`], [`swarm`]); with or without loss of what was not synced | enumerated at commits and calls; drawn |
//! | F2 handler dropped | its future is dropped after its n-th poll ([`calls`]); connections are cut at a commit or any moment ([`network`]) | enumerated: every await of every method with an effect; drawn |
//! | F8 network | partition, one way and both ways, delay, messages held back and released at once ([`swarm`]); calls made twice, and made again when they are old, also by the next life of a caller that crashed ([`calls`]) | drawn |
//! | F9 stale view | watchers are told late, so that reads see what was ([`store`]) | enumerated at commits; drawn |
//! | F10 missed event | watchers are told that they missed something ([`store`]) | enumerated at commits; drawn |
//! | F11 two coordinators | an earlier epoch goes on ordering effects ([`resolver`]) | drawn |
//! | F12 pause | a host stands still for longer than any deadline ([`clock`]); all its messages are held back at once ([`swarm`]) | drawn, once in a run |
//! | F13 clock | the wall clock of a host jumps ([`clock`]) | drawn |
//! | F14 slow | a slow disk ([`store`]), a slow link ([`swarm`]) | drawn |
//! | F15 unread state | an answer of a planner, of volume-claim or identity-dns, or a machine's assignments, is an error, empty, or bytes that do not decode ([`calls`]) | enumerated at calls; drawn |
//! | F16 partial fan-out | the coordinator dies between two calls of one pass, as F1 | enumerated at calls; drawn |
//! | F17 edits | people scale, change templates and partitions, delete, recreate under the same name ([`people`]) | every seed |
//! | F17 edits, more of them | people make claims larger, hold pods back and lose one, make a set again without its pods, also with other labels | drawn |
//! | F18 processes | they flap, fail, are never ready, take their time to stop ([`machine`]) | drawn |
//! | F19 runtime dies | its processes live on ([`runtime`]) | enumerated at its calls; drawn |
//! | F20 restart storm | all services at once, again and again ([`swarm`]) | drawn |
//! | F23 deadlines | people do not wait ([`people`]); a call at any hop tells its server a deadline that makes no sense, or runs out on the way ([`calls`]) | drawn |
//!
//! What of them there is not:
//! - **F8, duplicate messages.** A TCP connection never delivers twice, in turmoil as in reality. What there is are calls that
//!   are made again, on the same connection or another, at once or long after: those are drawn.
//! - **F12, tokio's timers.** A host that stands still neither reads nor writes, starts no call and takes no answer; its
//!   handlers, commits, watches and the sleeps of its clock wait. But turmoil cannot freeze a host: deadlines and keep-alives
//!   inside it run out on time, where those of a stopped process would run out together when it goes on.
//! - **F15, `ListPods`** of the runtime: nothing is decided from it; nobody in the product calls it.
//! - **F2, `StopAll` and `Drain`**: the runtime is simulated, so they have no handler here. `StopAll` runs by the same
//!   [`Effects`](service_kit::effects::Effects) as the two effects of volume-claim; pod-runtime's own tests repeat it.
//! - **F1, F15, repetition.** Calls by one host to one method differ only in repetition where what is committed next is the
//!   same, the same done to the same kinds of objects: the first of them stands for all.
//!
//! **Chance.** All of it comes from the seed: the product's identities through its seam, the network's delays from turmoil,
//! and what is below both, the order in which tokio wakes and hash maps iterate, by a seeded `getrandom` under the process
//! (mad-turmoil). Counters of a process are part of that, so every run is a process of its own ([`many`]).
//!
//! **What is not simulated, and why.** Volumes are real directories and the journal of names a real file, in memory where the
//! machine has such a file system: their code is about paths and descriptors, which a simulated disk would have to imitate
//! down to `openat2`. They see crashes of their process between any two messages, not a loss of power; their own tests
//! do. The process seam does blocking work at once, so a crash never falls into the midst of one.

pub mod calls;
pub mod campaign;
pub mod clock;
pub mod directory;
pub mod hosts;
pub mod lab;
pub mod machine;
pub mod manifest;
pub mod many;
pub mod mutant;
pub mod network;
pub mod once;
pub mod people;
pub mod place;
pub mod resolver;
pub mod run;
pub mod runtime;
pub mod scenario;
pub mod store;
pub mod swarm;
pub mod trace;
pub mod user;
