//! Scenarios whose every commit and call is perturbed: what people do, without any other fault.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::manifest::Manifest;
use crate::once::Counted;
use crate::people::People;
use crate::user::Edit;

/// Long enough for what was asked before to be done.
const AFTERWARDS: Duration = Duration::from_secs(4);

/// A scenario.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scenario {
    /// A set of three is made.
    CreateThree,
    /// A set of three gets a new template, of which one pod is kept out.
    UpdateWithPartition,
    /// A set of three is scaled to one, and its claims go.
    ScaleDownWithRetention,
    /// Every method with an effect that people can call, one after the other: for handlers to be dropped.
    EveryMethod,
}

impl Scenario {
    /// Those whose every commit and call is perturbed.
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
            app: "web".to_owned(),
            scratch: false,
        };
        let begin = (Duration::ZERO, vec![Edit::Apply(first.objects())]);
        let then = match self {
            Self::CreateThree => return People::scripted(vec![begin], vec![first]),
            Self::UpdateWithPartition => Manifest { image: "v1".to_owned(), partition: 1, ..first },
            Self::ScaleDownWithRetention => Manifest { replicas: 1, ..first },
            Self::EveryMethod => return every_method(begin, first),
        };
        People::scripted(vec![begin, (AFTERWARDS, vec![Edit::Apply(then.objects())])], vec![then])
    }
}

fn every_method(begin: (Duration, Vec<Edit>), first: Manifest) -> People {
    let calls = [
        Counted::Apply(Manifest { image: "v1".to_owned(), ..first.clone() }.set()),
        Counted::Scale(2),
        Counted::MarkPod(0),
        Counted::Pause,
        Counted::Undo(1),
        Counted::Resume,
        Counted::Restart,
        Counted::DeletePod(0),
        Counted::Delete,
    ];
    let edits = calls.into_iter().map(|call| Edit::Counted { set: first.name.clone(), call });
    let again = Edit::Apply(first.objects());
    People::scripted(vec![begin, (AFTERWARDS, edits.chain([again]).collect())], vec![first])
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::CreateThree => "create-three",
            Self::UpdateWithPartition => "update-with-partition",
            Self::ScaleDownWithRetention => "scale-down-with-retention",
            Self::EveryMethod => "every-method",
        })
    }
}

impl FromStr for Scenario {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().chain([Self::EveryMethod]).find(|scenario| scenario.to_string() == text);
        found.ok_or_else(|| format!("there is no scenario {text}"))
    }
}
