//! Static matching: which volume fits a claim best (volume rules 3.2).

use std::collections::BTreeSet;

use domain::volume::{Claim, FailedTest, MachineNode, Rejection, Volume, VolumeMode};

use super::{Planner, REJECTED_MAX, Standing};

/// What a search looks for beside the claim's own wishes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Search<'s> {
    /// Class of the volume; empty for volumes without one.
    pub(super) class: &'s str,
    /// Node that must reach it; none where the node does not matter.
    pub(super) node: Option<&'s MachineNode>,
}

impl<'a> Planner<'a> {
    /// A volume whose `claimRef` means this claim and that is not impossible. It beats everything else, over all groups
    /// of modes: a reservation must not lose to a volume that happens to offer fewer modes (scenario V-26).
    pub(super) fn reserved(&self, claim: &Claim) -> Option<&'a Volume> {
        let means = |volume: &&'a Volume| {
            let half = [Some(&Standing::Reserved), Some(&Standing::HalfBound)];
            volume.claim_ref.as_ref().is_some_and(|one| one.means(claim))
                && half.contains(&self.standings.get(volume.name.as_str()))
                && !self.taken.contains(volume.name.as_str())
                && volume.capacity >= claim.request
                && volume.volume_mode == claim.volume_mode
                && volume.attributes_class == claim.attributes_class
                && !volume.deleting
        };
        let by_name_only = |volume: &&Volume| volume.claim_ref.as_ref().is_some_and(|one| one.uid.0.is_empty());
        self.request.volumes.iter().filter(means).min_by_key(|volume| (by_name_only(volume), volume.name.as_str()))
    }

    /// The best volume that nobody has: fewest modes, then smallest, then smallest name. `besides` are left out.
    pub(super) fn best(
        &self,
        claim: &Claim,
        search: Search<'_>,
        besides: &BTreeSet<&'a str>,
    ) -> Result<&'a Volume, Vec<Rejection>> {
        if !claim.data_source.is_empty() {
            return Err(Vec::new()); // What is filled from elsewhere cannot be a volume that exists.
        }
        let free =
            |volume: &Volume| !self.taken.contains(volume.name.as_str()) && !besides.contains(volume.name.as_str());
        let fitting = self.volumes.values().filter(|volume| self.failed(claim, volume, search).is_none());
        let best =
            fitting.filter(|volume| free(volume)).min_by_key(|volume| (volume.access_modes.len(), volume.capacity));
        // Reasons cost much more than the search, and most claims never need them.
        best.copied().ok_or_else(|| self.rejections(claim, search))
    }

    /// Every volume with the test it fails, by name. Only as many as a report names say it in words.
    fn rejections(&self, claim: &Claim, search: Search<'_>) -> Vec<Rejection> {
        let rejection = |(place, volume): (usize, &&Volume)| {
            let test = self.failed(claim, volume, search).unwrap_or(FailedTest::ClaimRef);
            let named = place < REJECTED_MAX;
            let message = if named { difference(test, claim, volume, search) } else { String::new() };
            Rejection { volume: volume.name.clone(), test, message }
        };
        self.volumes.values().enumerate().map(rejection).collect()
    }

    /// The first test that a volume fails.
    fn failed(&self, claim: &Claim, volume: &Volume, search: Search<'_>) -> Option<FailedTest> {
        let standing = self.standings.get(volume.name.as_str());
        let offers = |mode| volume.access_modes.contains(mode);
        let tests = [
            (FailedTest::AccessModes, claim.access_modes.iter().all(offers)),
            (FailedTest::Size, volume.capacity >= claim.request),
            (FailedTest::VolumeMode, volume.volume_mode == claim.volume_mode),
            (FailedTest::AttributesClass, volume.attributes_class == claim.attributes_class),
            (FailedTest::Deleting, !volume.deleting),
            (FailedTest::Class, volume.class == search.class),
            (FailedTest::Selector, claim.selector.as_ref().is_none_or(|one| one.selects(&volume.labels))),
            (FailedTest::Phase, !matches!(standing, Some(Standing::Released | Standing::Lost) | None)),
            (FailedTest::ClaimRef, standing == Some(&Standing::Free)),
            (FailedTest::NodeAffinity, search.node.is_none_or(|node| volume.reachable_from(node))),
        ];
        tests.into_iter().find(|(_, passed)| !passed).map(|(test, _)| test)
    }

    /// The first test that a volume named by the claim fails; selector and node do not count (volume rules 3.4).
    pub(super) fn mismatch(claim: &Claim, volume: &Volume) -> Option<FailedTest> {
        let offers = |mode| volume.access_modes.contains(mode);
        let tests = [
            (FailedTest::Deleting, !volume.deleting),
            (FailedTest::Size, volume.capacity >= claim.request),
            (FailedTest::Class, volume.class == claim.effective_class()),
            (FailedTest::AttributesClass, volume.attributes_class == claim.attributes_class),
            (FailedTest::VolumeMode, volume.volume_mode == claim.volume_mode),
            (FailedTest::AccessModes, claim.access_modes.iter().all(offers)),
        ];
        tests.into_iter().find(|(_, passed)| !passed).map(|(test, _)| test)
    }
}

/// What both sides say about a test.
pub(super) fn difference(test: FailedTest, claim: &Claim, volume: &Volume, search: Search<'_>) -> String {
    let modes =
        |modes: &[domain::volume::AccessMode]| modes.iter().map(|mode| mode.short()).collect::<Vec<_>>().join(",");
    let kind = |mode| if mode == VolumeMode::Block { "Block" } else { "Filesystem" };
    match test {
        FailedTest::AccessModes => {
            format!("offers {}, {} requested", modes(&volume.access_modes), modes(&claim.access_modes))
        }
        FailedTest::Size => format!("has {}, {} requested", volume.capacity, claim.request),
        FailedTest::VolumeMode => format!("is {}, {} requested", kind(volume.volume_mode), kind(claim.volume_mode)),
        FailedTest::AttributesClass => {
            format!("has attributes class {:?}, {:?} requested", volume.attributes_class, claim.attributes_class)
        }
        FailedTest::Class => format!("has class {:?}, {:?} requested", volume.class, search.class),
        FailedTest::Phase => format!("is {}", volume.phase.name()),
        FailedTest::ClaimRef => match &volume.claim_ref {
            Some(one) => format!("belongs to {}/{}", one.namespace, one.name),
            None => "was just given to another claim".to_owned(),
        },
        FailedTest::Deleting | FailedTest::Selector | FailedTest::NodeAffinity => test.to_string(),
    }
}

/// The first rejections in words, to be put after a message.
pub(super) fn explain(rejected: &[Rejection], max: usize) -> String {
    if rejected.is_empty() {
        return String::new();
    }
    let named: Vec<_> = rejected.iter().take(max).map(|one| format!("{} {}", one.volume, one.message)).collect();
    let rest = match rejected.len().saturating_sub(max) {
        0 => String::new(),
        more => format!(", and {more} more do not fit"),
    };
    format!(" ({}{rest})", named.join(", "))
}
