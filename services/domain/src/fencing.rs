//! What becomes of the pods of a machine that does not answer (StatefulSet rules, sections 12 and 18; S1).
//!
//! Silence proves nothing: behind a broken network the processes go on and write. So a silent machine keeps its pods, and
//! their places, for as long as it takes: until it answers again, or until somebody who knows that nothing runs there any
//! more, because it was powered off or cut off its storage, fences it. Then, and only then, its pods are released, and others
//! may take their place.

use std::time::Duration;

/// How long a machine may be silent before it is told, and before it can be fenced: longer than a coordinator or a runtime
/// takes to start again and to find the other. As long as Kubernetes long waited before it called a node unreachable.
pub const SILENCE_MAX: Duration = Duration::from_secs(40);

/// What is known of a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Contact {
    /// Its runtime says what becomes of its pods.
    Answers,
    /// Nobody knows whether its pods run.
    Silent,
    /// Nothing runs there: somebody has said so, and how they know.
    Fenced,
}

/// A pod that a machine was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Stranded {
    /// Its deletion was requested.
    pub deleting: bool,
    /// A finalizer keeps it from going.
    pub held: bool,
    /// It has ended.
    pub ended: bool,
}

/// What becomes of a pod without the word of its machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Release {
    /// Nothing: its machine decides.
    Keep,
    /// It has ended: it can be replaced.
    End,
    /// It is gone: it was asked to go, and nothing of it runs.
    Remove,
}

/// What becomes of a pod whose machine is like this.
#[must_use]
pub fn release(machine: Contact, pod: Stranded) -> Release {
    match machine {
        Contact::Answers | Contact::Silent => Release::Keep,
        Contact::Fenced if pod.deleting && !pod.held => Release::Remove,
        Contact::Fenced if pod.ended => Release::Keep,
        Contact::Fenced => Release::End,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_fence_releases_a_pod() {
        for (deleting, held, ended) in (0..8).map(|bits| (bits & 1 > 0, bits & 2 > 0, bits & 4 > 0)) {
            let pod = Stranded { deleting, held, ended };
            for machine in [Contact::Answers, Contact::Silent] {
                assert_eq!(release(machine, pod), Release::Keep, "{pod:?}");
            }
            let expected = match (deleting && !held, ended) {
                (true, _) => Release::Remove,
                (false, true) => Release::Keep,
                (false, false) => Release::End,
            };
            assert_eq!(release(Contact::Fenced, pod), expected, "{pod:?}");
        }
    }
}
