//! Scenarios whose every commit is perturbed: what people do, without any other fault.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::people::People;
use crate::user::{Edit, Manifest};

/// Long enough for what was asked before to be done.
const AFTERWARDS: Duration = Duration::from_secs(8);

/// A scenario.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scenario {
    /// A set of three is made.
    CreateThree,
    /// A set of three gets a new template, of which one pod is kept out.
    UpdateWithPartition,
    /// A set of three is scaled to one, and its claims go.
    ScaleDownWithRetention,
}

impl Scenario {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::CreateThree, Self::UpdateWithPartition, Self::ScaleDownWithRetention];

    /// Who does it.
    #[must_use]
    pub fn people(self) -> People {
        let first = Manifest {
            name: "web".to_owned(),
            replicas: 3,
            image: "v0".to_owned(),
            parallel: false,
            on_delete: false,
            partition: 0,
            scaled_delete: self == Self::ScaleDownWithRetention,
            deleted_delete: false,
            claims: true,
        };
        let begin = (Duration::ZERO, vec![Edit::Apply(first.objects())]);
        let then = match self {
            Self::CreateThree => return People::scripted(vec![begin], vec![first]),
            Self::UpdateWithPartition => Manifest { image: "v1".to_owned(), partition: 1, ..first },
            Self::ScaleDownWithRetention => Manifest { replicas: 1, ..first },
        };
        People::scripted(vec![begin, (AFTERWARDS, vec![Edit::Apply(then.objects())])], vec![then])
    }
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::CreateThree => "create-three",
            Self::UpdateWithPartition => "update-with-partition",
            Self::ScaleDownWithRetention => "scale-down-with-retention",
        })
    }
}

impl FromStr for Scenario {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|scenario| scenario.to_string() == text);
        found.ok_or_else(|| format!("there is no scenario {text}"))
    }
}
