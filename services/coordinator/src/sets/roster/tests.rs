//! A roster that is brought up to date is the one that is read anew.

use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::{Value, json};
use service_kit::CancellationToken;

use super::*;
use crate::config::Patience;
use crate::store::MemoryStore;
use crate::world::{Transaction, World};

/// What happens to pods of one name, `web-N`.
#[derive(Debug, Clone)]
enum Event {
    /// It is there, of that owner, with that label, ready or not.
    Put { number: u32, owner: Option<&'static str>, label: &'static str, ready: bool },
    /// It is there in another namespace, and names the set as its owner.
    Elsewhere(u32),
    /// It goes.
    Remove(u32),
    /// A pass looks.
    Look,
    /// A pass looks at it as a report says that it will be, ready or not.
    LookAhead { number: u32, ready: bool },
}

fn event() -> impl Strategy<Value = Event> {
    let owner = prop_oneof![6 => Just(Some("first")), 1 => Just(Some("second")), 1 => Just(None)];
    let label = prop_oneof![8 => Just("web"), 1 => Just("other")];
    // Few numbers for collisions; and, with 40 pods, changes of one at a time and of most.
    let number = || prop_oneof![0..40_u32, Just(3)];
    prop_oneof![
        8 => (number(), owner, label, any::<bool>())
            .prop_map(|(number, owner, label, ready)| Event::Put { number, owner, label, ready }),
        1 => number().prop_map(Event::Elsewhere),
        3 => number().prop_map(Event::Remove),
        3 => Just(Event::Look),
        2 => (number(), any::<bool>()).prop_map(|(number, ready)| Event::LookAhead { number, ready }),
    ]
}

fn pod(namespace: &str, name: &str, owner: Option<&str>, label: &str, ready: bool) -> Value {
    let status = if ready { "True" } else { "False" };
    let owners = owner.map(|uid| json!({ "kind": "StatefulSet", "name": "web", "uid": uid, "controller": true }));
    json!({
        "metadata": {
            "name": name, "namespace": namespace, "uid": format!("uid-{name}"), "labels": { "app": label },
            "ownerReferences": owners.into_iter().collect::<Vec<_>>(),
        },
        "status": { "phase": "Running", "conditions": [{ "type": "Ready", "status": status }] },
    })
}

async fn happen(world: &World, event: &Event) {
    let name = |number: u32| if number == 39 { "stranger".to_owned() } else { format!("web-{number}") };
    let key = |namespace: &str, number| Key::new(Kind::Pod, namespace, &name(number));
    let mut transaction = Transaction::default();
    match *event {
        Event::Put { number, owner, label, ready } => {
            transaction.record(key("default", number), Some(pod("default", &name(number), owner, label, ready)));
        }
        Event::Elsewhere(number) => {
            transaction.record(key("other", number), Some(pod("other", &name(number), Some("first"), "web", true)));
        }
        Event::Remove(number) => transaction.record(key("default", number), None),
        Event::Look | Event::LookAhead { .. } => {}
    }
    world.commit(transaction).await.unwrap();
}

/// What a roster says, as far as it can be compared.
fn said(roster: &Roster) -> impl PartialEq + std::fmt::Debug {
    let member = |member: &Member| (member.ordinal.0, member.object.version, member.marked);
    let members: Vec<_> = roster.members.iter().map(member).collect();
    let strays: Vec<_> = roster.strays.iter().map(|stray| (stray.key.clone(), stray.version)).collect();
    (members, roster.pods.to_vec(), strays)
}

#[derive(Debug, Default)]
struct Looked {
    members: usize,
    strays: usize,
    ahead: usize,
}

/// Looks at the pods of the set with one as it will be; whether it is one of them.
fn look_ahead(
    world: &World,
    rosters: &Rosters,
    (set, selector): (&SetRef, &Selector),
    number: u32,
    ready: bool,
) -> bool {
    let name = format!("web-{number}");
    let Some(stored) = world.get(&Key::new(Kind::Pod, "default", &name)) else { return false };
    let controlled = stored.controller_uid() == Some("first");
    let label = stored.label("app").unwrap_or_default();
    let will_be = pod("default", &name, stored.controller_uid(), label, ready);
    let will_be = Arc::new(Object::new(stored.key.clone(), will_be, stored.version));
    let look = |stored: &Arc<Object>| {
        let (_expected, coming) = Coming::new(stored.clone(), will_be.clone(), Ordinal(number), Patience::default());
        world.view(|view| rosters.of(view, set, Some(selector), Some(&coming)))
    };
    let roster = look(&stored);
    let member = roster.members.iter().find(|member| member.ordinal == Ordinal(number));
    let shown = member.map(|member| Arc::ptr_eq(&member.object, &will_be));
    assert_eq!(shown, (controlled && label == "web").then_some(true));
    let seen = roster.pods.iter().find(|pods| pods.ordinal == Ordinal(number)).map(|pods| pods.ready);
    assert_eq!(seen, shown.map(|_| ready));
    // Of another version nothing is known ahead.
    let another = Arc::new(Object::new(stored.key.clone(), stored.value.clone(), stored.version));
    assert_eq!(look(&another).ahead, None);
    shown.is_some()
}

/// Lets it all happen and compares at every look; how much there was to see.
async fn compare(events: &[Event]) -> Looked {
    let world = World::load(Arc::new(MemoryStore::new())).await.unwrap();
    let ended = CancellationToken::new();
    let following = tokio::spawn(world.clone().follow(ended.clone()));
    let set = SetRef { namespace: "default".into(), name: "web".into(), uid: Uid("first".into()) };
    let selector = Selector::from_label_selector(&json!({ "matchLabels": { "app": "web" } })).unwrap();
    let rosters = Rosters::default();
    let mut looked = Looked::default();
    for event in events.iter().chain([&Event::Look]) {
        happen(&world, event).await;
        if let Event::Look = event {
            let (followed, anew) = world.view(|view| {
                let owner = Owner { set: &set, selector: Some(&selector) };
                (rosters.of(view, &set, Some(&selector), None), owner.anew(view))
            });
            assert_eq!(said(&followed), said(&anew));
            looked.members += anew.members.len();
            looked.strays += anew.strays.len();
        }
        if let Event::LookAhead { number, ready } = *event {
            looked.ahead += usize::from(look_ahead(&world, &rosters, (&set, &selector), number, ready));
        }
    }
    ended.cancel();
    following.await.unwrap().unwrap();
    looked
}

fn run(events: &[Event]) -> Looked {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(compare(events))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn one_that_is_brought_up_to_date_is_the_one_that_is_read_anew(events in vec(event(), 0..120)) {
        run(&events);
    }
}

#[test]
fn pods_come_change_hands_and_go() {
    let put = |number, owner, label| Event::Put { number, owner, label, ready: true };
    let look = || Event::Look;
    let first = Some("first");
    let looked = run(&[
        put(0, first, "web"),
        put(2, first, "web"),
        look(),
        put(1, first, "web"),
        put(39, first, "web"),
        put(3, first, "other"),
        look(),
        put(1, Some("second"), "web"),
        put(2, None, "web"),
        Event::Elsewhere(5),
        look(),
        Event::Remove(0),
        Event::Remove(39),
        look(),
        put(4, first, "web"),
        Event::LookAhead { number: 4, ready: false },
        Event::LookAhead { number: 5, ready: true },
        Event::LookAhead { number: 3, ready: true },
    ]);
    // Two; three and two that are not its own; one and the same two; none and one; that one and one that is looked at ahead.
    assert_eq!((looked.members, looked.strays), (2 + 3 + 1 + 1, 2 + 2 + 1 + 1));
    assert_eq!(looked.ahead, 1, "nobody has 5, and 3 is not its own");
}
