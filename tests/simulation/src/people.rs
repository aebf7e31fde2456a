//! What people want over the course of a run, drawn from its seed.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use coordinator::store::simulated_disk::Random;
use oracles::Desired;

use crate::lab::Lab;
use crate::machine::BAD_IMAGE;
use crate::manifest::Manifest;
use crate::user::{Edit, NAMESPACE};

/// Names of sets. One begins with the other, as names do.
const NAMES: [&str; 2] = ["web", "web-a"];

/// Most pods of a set.
pub(crate) const REPLICAS_MAX: u64 = 4;

/// What some people do besides: they make claims larger, hold pods back below a partition and lose one, let go of pods and
/// take them up again, or do not. Drawn apart, so that a seed in which they do not keeps what else it has.
#[derive(Debug)]
struct Besides {
    random: Random,
    next: Duration,
    /// How often they did anything: makes labels and images new.
    acts: u64,
}

impl Besides {
    fn draw(seed: u64) -> Option<Self> {
        let mut random = Random::new(seed ^ 0xbe51de);
        let some = random.below(3) == 0;
        let next = Duration::from_millis(1_500 + random.below(3_000));
        some.then_some(Self { random, next, acts: 0 })
    }

    fn act(&mut self, manifest: &mut Manifest, there: bool, lab: &Lab) {
        let name = manifest.name.clone();
        self.acts += 1;
        match self.random.below(5) {
            0 | 1 => {
                lab.fault("F17 claim grows");
                let claim = format!("data-{name}-{}", self.random.below(REPLICAS_MAX));
                lab.edit(Edit::GrowClaim { claim, mebibytes: 2 + self.random.below(6) });
            }
            2 if there => {
                lab.fault("F17 pod lost below a partition");
                (manifest.partition, manifest.image) = (1 + self.random.below(2) as u32, format!("held-{}", self.acts));
                lab.edit(Edit::Apply(manifest.objects()));
                lab.edit(Edit::DeletePod { pod: format!("{name}-0") });
            }
            labels if there => {
                lab.fault("F17 set made again without its pods");
                if labels == 3 {
                    manifest.app = format!("{name}.{}", self.acts);
                }
                lab.edit(Edit::DeleteSet { set: name.clone(), cascade: "orphan".to_owned() });
                lab.edit(Edit::Insist { set: name.clone(), objects: manifest.objects() });
                lab.edit(Edit::DeleteOrphans { set: name });
            }
            _ => {}
        }
    }
}

/// People with changing minds.
#[derive(Debug)]
pub struct People {
    random: Random,
    next: Duration,
    wanted: Vec<(Manifest, bool)>,
    script: VecDeque<(Duration, Vec<Edit>)>,
    images: u64,
    /// Sets that once had a bad image.
    disappointed: BTreeSet<String>,
    besides: Option<Besides>,
}

impl People {
    /// People who change their minds now and then.
    #[must_use]
    pub fn draw(seed: u64, lab: &Lab) -> Self {
        let mut random = Random::new(seed ^ 0xbe0b1e);
        let count = 1 + random.below(2) as usize;
        let mut people = Self {
            next: Duration::ZERO,
            wanted: Vec::new(),
            script: VecDeque::new(),
            images: 0,
            disappointed: BTreeSet::new(),
            besides: Besides::draw(seed),
            random,
        };
        for name in &NAMES[..count] {
            let random = &mut people.random;
            let manifest = Manifest {
                name: (*name).to_owned(),
                replicas: 1 + random.below(REPLICAS_MAX - 1) as u32,
                image: "v0".to_owned(),
                parallel: random.below(4) == 0,
                on_delete: random.below(8) == 0,
                partition: 0,
                scaled_delete: random.below(2) == 0,
                deleted_delete: random.below(2) == 0,
                claims: random.below(3) != 0,
                app: (*name).to_owned(),
                scratch: people.besides.is_some(),
            };
            lab.edit(Edit::Apply(manifest.objects()));
            people.wanted.push((manifest, true));
        }
        people.next = Duration::from_millis(1_000 + people.random.below(3_000));
        people
    }

    /// People who do exactly this, at these times.
    #[must_use]
    pub fn scripted(script: Vec<(Duration, Vec<Edit>)>, wanted: Vec<Manifest>) -> Self {
        Self {
            random: Random::new(0),
            next: Duration::MAX,
            wanted: wanted.into_iter().map(|manifest| (manifest, true)).collect(),
            script: script.into(),
            images: 0,
            disappointed: BTreeSet::new(),
            besides: None,
        }
    }

    /// Whether there is something yet to be done by script.
    #[must_use]
    pub fn has_plans(&self) -> bool {
        !self.script.is_empty()
    }

    /// Does what is due.
    pub fn step(&mut self, lab: &Lab, now: Duration) {
        while self.script.front().is_some_and(|(at, _)| *at <= now) {
            let (_, edits) = self.script.pop_front().unwrap_or_default();
            edits.into_iter().for_each(|edit| lab.edit(edit));
        }
        if self.next <= now {
            self.next = now + Duration::from_millis(200 + self.random.below(5_000));
            self.change_mind(lab);
        }
        if let Some(besides) = self.besides.as_mut().filter(|besides| besides.next <= now) {
            besides.next = now + Duration::from_millis(500 + besides.random.below(5_000));
            let place = besides.random.below(self.wanted.len() as u64) as usize;
            let (manifest, there) = &mut self.wanted[place];
            besides.act(manifest, *there, lab);
        }
    }

    fn change_mind(&mut self, lab: &Lab) {
        lab.fault("F17 edit");
        let place = self.random.below(self.wanted.len() as u64) as usize;
        let action = self.random.below(12);
        self.images += 1;
        let (image, replicas) = (format!("v{}", self.images), self.random.below(REPLICAS_MAX + 1) as u32);
        let dice = self.random.below(1_000);
        let (manifest, there) = &mut self.wanted[place];
        if !*there {
            *there = true;
            lab.edit(Edit::Apply(manifest.objects()));
            return;
        }
        match action {
            0..=2 => {
                manifest.replicas = replicas;
                lab.edit(Edit::Scale { set: manifest.name.clone(), replicas: replicas as i32 });
            }
            3 | 4 => {
                manifest.image = image;
                lab.edit(Edit::Apply(manifest.objects()));
            }
            5 if !manifest.on_delete => {
                // A bad image, and then a good one: the bad one must not stay in the way.
                manifest.image = format!("{BAD_IMAGE}{}", self.images);
                self.disappointed.insert(manifest.name.clone());
                lab.edit(Edit::Apply(manifest.objects()));
                manifest.image = image;
            }
            6 => {
                (manifest.partition, manifest.image) = (dice as u32 % 3, image);
                lab.edit(Edit::Apply(manifest.objects()));
            }
            7 => {
                (manifest.replicas, manifest.scaled_delete) = (replicas, !manifest.scaled_delete);
                lab.edit(Edit::Apply(manifest.objects()));
            }
            8 => {
                let cascade = ["", "background", "foreground"][dice as usize % 3];
                lab.edit(Edit::DeleteSet { set: manifest.name.clone(), cascade: cascade.to_owned() });
                *there = false;
                if dice.is_multiple_of(2) {
                    *there = true;
                    lab.edit(Edit::Apply(manifest.objects()));
                }
            }
            9 => lab.edit(Edit::DeletePod { pod: format!("{}-{}", manifest.name, dice % 3) }),
            10 => {
                lab.fault("F23 deadline that cannot be kept");
                manifest.image = image;
                let deadline = Duration::from_millis(dice % 60);
                lab.edit(Edit::Impatient { objects: manifest.objects(), deadline });
            }
            _ => {
                lab.fault("F8 repeated request");
                lab.edit(Edit::Apply(manifest.objects()));
                lab.edit(Edit::Apply(manifest.objects()));
            }
        }
    }

    /// Says what is wanted for good, once more.
    pub fn settle(&mut self, lab: &Lab) {
        for (manifest, there) in &mut self.wanted {
            if *there {
                // By now they have seen what was wrong with an image.
                if manifest.image.starts_with(BAD_IMAGE) {
                    manifest.image = "good".to_owned();
                }
                // Below a partition a bad image stays for as long as they want the partition.
                if self.disappointed.contains(&manifest.name) {
                    manifest.partition = 0;
                }
                lab.edit(match self.besides {
                    Some(_) => Edit::Insist { set: manifest.name.clone(), objects: manifest.objects() },
                    None => Edit::Apply(manifest.objects()),
                });
            } else {
                // An earlier request of theirs that came late may have brought it back.
                lab.edit(Edit::DeleteSet { set: manifest.name.clone(), cascade: String::new() });
            }
            if self.besides.is_some() {
                lab.edit(Edit::DeleteOrphans { set: manifest.name.clone() });
            }
        }
    }

    /// What is wanted now.
    #[must_use]
    pub fn desired(&self) -> Vec<Desired> {
        let one = |(manifest, there): &(Manifest, bool)| match there {
            true => Desired::There(manifest.set()),
            false => Desired::Gone { namespace: NAMESPACE.to_owned(), name: manifest.name.clone() },
        };
        self.wanted.iter().map(one).collect()
    }
}
