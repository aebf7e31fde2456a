//! Bonds about which nothing is to be done.

use super::{Claim, ClaimPhase, Volume, VolumePhase};

/// Whether a claim and a volume are bound to each other and nothing is to be done about either (volume rules 3.5, 3.6 and
/// 6.4): both say all of the bond, both stay, and the claim does not ask for more than it has. Of what two such say nothing
/// changes for anyone else, so [`VolumesRequest`](super::VolumesRequest) may be made without them where nothing in it
/// refers to one, as it says there.
#[must_use]
pub fn at_rest(claim: &Claim, volume: &Volume) -> bool {
    let names_back = volume.claim_ref.as_ref().is_some_and(|one| !one.uid.0.is_empty() && one.means(claim));
    let claim_stays = !claim.deleting && claim.bind_completed && claim.phase == ClaimPhase::Bound;
    let has_enough = claim.capacity.is_some_and(|capacity| claim.request <= capacity);
    let volume_stays = !volume.deleting && volume.phase == VolumePhase::Bound;
    claim.volume_name == volume.name
        && names_back
        && claim_stays
        && has_enough
        && claim.bound_access_modes == volume.access_modes
        && volume_stays
}

#[cfg(test)]
mod tests {
    use super::super::{AccessMode, ClaimRef};
    use super::*;
    use crate::{Quantity, Uid};

    #[test]
    fn a_bond_rests_while_both_sides_say_all_of_it_and_stay() {
        let modes = vec![AccessMode::ReadWriteOnce];
        let claim = Claim {
            namespace: "default".into(),
            name: "data-web-0".into(),
            uid: Uid("c".into()),
            phase: ClaimPhase::Bound,
            request: Quantity(5),
            capacity: Some(Quantity(5)),
            volume_name: "v".into(),
            bind_completed: true,
            bound_access_modes: modes.clone(),
            ..Claim::default()
        };
        let names =
            |uid: &str| ClaimRef { namespace: "default".into(), name: "data-web-0".into(), uid: Uid(uid.into()) };
        let volume = Volume {
            name: "v".into(),
            phase: VolumePhase::Bound,
            access_modes: modes,
            claim_ref: Some(names("c")),
            ..Volume::default()
        };
        assert!(at_rest(&claim, &volume));
        type Change = fn(&mut Claim, &mut Volume);
        let changes: [(&str, Change); 12] = [
            ("the claim goes", |claim, _| claim.deleting = true),
            ("the claim was never bound", |claim, _| claim.bind_completed = false),
            ("the claim is lost", |claim, _| claim.phase = ClaimPhase::Lost),
            ("the claim wants to grow", |claim, _| claim.request = Quantity(6)),
            ("the claim does not say what it has", |claim, _| claim.capacity = None),
            ("the claim says other modes", |claim, _| claim.bound_access_modes.clear()),
            ("the claim names another volume", |claim, _| claim.volume_name = "w".into()),
            ("the claim is another", |claim, _| claim.uid = Uid("d".into())),
            ("the volume goes", |_, volume| volume.deleting = true),
            ("the volume is not marked", |_, volume| volume.phase = VolumePhase::Available),
            ("the volume is reserved by name", |_, volume| {
                volume.claim_ref.as_mut().expect("it has one").uid = Uid::default();
            }),
            ("the volume names nobody", |_, volume| volume.claim_ref = None),
        ];
        for (what, change) in changes {
            let (mut claim, mut volume) = (claim.clone(), volume.clone());
            change(&mut claim, &mut volume);
            assert!(!at_rest(&claim, &volume), "{what}");
        }
    }
}
