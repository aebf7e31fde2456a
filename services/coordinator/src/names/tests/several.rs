//! Several replicas: each is told, and none keeps the others from it.

use super::*;

impl Bench {
    /// How many replicas answer, and how many do not.
    fn answer(&self) -> (usize, usize) {
        let replicas = self.names.replicas();
        let answering = replicas.iter().filter(|(_, answers)| *answers).count();
        (answering, replicas.len() - answering)
    }

    /// Returns when every replica is waited for.
    async fn all_answer(&self) {
        let mut roll = self.names.roll.subscribe();
        let all = roll.wait_for(|roll| roll.replicas.values().all(|replica| replica.silent.is_none()));
        drop(tokio::time::timeout(PATIENCE, all).await.expect("in time").unwrap());
    }

    /// A pod that is about to become ready.
    async fn stored(&self) -> Arc<Object> {
        let stored = self.put(Kind::Pod, "web-0", pod(false, false)).await;
        self.served(stored.version).await;
        stored
    }

    /// What a report waits for, within what it waits.
    async fn announce(&self, pod: &Object) -> Result<(), NotPublished> {
        let ready = self.ready(pod);
        let announced = self.names.announce(&ready);
        tokio::time::timeout(crate::pods::report::ANNOUNCE_WAIT_MAX, announced).await.expect("in time")
    }
}

fn is_ready(replica: &Served) -> bool {
    replica.fake.pod("web-0").is_some_and(|pod| pod.ready)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_replica_has_what_is_waited_for() {
    let (bench, replicas) = bench::<3>().await;
    for round in 0..20 {
        let stored = bench.put(Kind::Pod, "web-0", pod(round % 2 == 0, false)).await;
        bench.served(stored.version).await;
        assert!(replicas.iter().all(|replica| is_ready(replica) == (round % 2 == 0)), "round {round}");
    }
    let stored = bench.stored().await;
    bench.announce(&stored).await.unwrap();
    assert!(replicas.iter().all(is_ready), "before the store says so");
    assert!(replicas.iter().all(|replica| replica.fake.told().full == 1), "changes go out as changes");
    bench.context.shutdown.cancel();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_is_down_keeps_no_pod_from_being_ready_and_is_told_all_when_it_is_back() {
    let (bench, [up, down]) = bench().await;
    let stored = bench.stored().await;
    let (disk, address) = down.stop().await;
    bench.announce(&stored).await.expect("one answers");
    assert!(is_ready(&up));
    assert_eq!(bench.answer(), (1, 1));
    let stored = bench.put(Kind::Pod, "web-0", pod(true, true)).await;
    bench.served(stored.version).await;
    assert!(up.fake.pod("web-0").unwrap().terminating && !disk.pod("web-0").unwrap().terminating);
    let back = Served::serve(disk, address).await;
    back.fake.until("it has what it missed", |told| told.pod("web-0").is_some_and(|pod| pod.terminating)).await;
    bench.all_answer().await;
    assert_eq!(up.fake.told().full, 1, "the other one did not notice");
    bench.context.shutdown.cancel();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_hangs_is_waited_for_once() {
    let (bench, [up, stopped]) = bench().await;
    let stored = bench.stored().await;
    stopped.fake.hangs.send_replace(true);
    bench.announce(&stored).await.expect("one answers");
    assert!(is_ready(&up) && !is_ready(&stopped));
    assert_eq!(bench.answer(), (1, 1));
    for ready in [true, false, true] {
        let stored = bench.put(Kind::Pod, "web-0", pod(ready, false)).await;
        bench.served(stored.version).await;
    }
    stopped.fake.hangs.send_replace(false);
    bench.all_answer().await;
    assert!(is_ready(&stopped));
    bench.context.shutdown.cancel();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_comes_back_empty_is_filled_though_nothing_changes() {
    let (bench, [kept, lost]) = bench().await;
    let stored = bench.put(Kind::Pod, "web-0", pod(true, false)).await;
    bench.served(stored.version).await;
    lost.fake.told.send_replace(Told::default());
    lost.fake.until("it is filled", |told| told.pod("web-0").is_some()).await;
    assert_eq!((kept.fake.told().full, lost.fake.told().full), (1, 1));
    // And where something changes first, at once.
    lost.fake.told.send_replace(Told::default());
    let stored = bench.put(Kind::Pod, "web-1", pod(true, false)).await;
    bench.served(stored.version).await;
    assert!(lost.fake.pod("web-0").is_some() && lost.fake.pod("web-1").is_some());
    bench.context.shutdown.cancel();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_follows_a_newer_coordinator_is_left_to_it() {
    let (bench, [ours, theirs]) = bench().await;
    let stored = bench.stored().await;
    theirs.fake.told.send_modify(|told| told.epoch = 8);
    bench.announce(&stored).await.expect("one answers");
    assert!(is_ready(&ours) && !is_ready(&theirs));
    assert_eq!(bench.answer(), (1, 1));
    bench.context.shutdown.cancel();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_none_answers_it_is_refused_with_the_cause() {
    let (bench, [one, other]) = bench().await;
    let stored = bench.stored().await;
    let ((one, address), _) = (one.stop().await, other.stop().await);
    for _ in 0..2 {
        let why = bench.announce(&stored).await.expect_err("nobody has it").to_string();
        assert!(why.contains("identity-dns does not answer: cannot reach 127.1."), "{why}");
    }
    let back = Served::serve(one, address).await;
    bench.announce(&stored).await.expect("one answers");
    assert!(is_ready(&back));
    bench.context.shutdown.cancel();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_come_and_go_while_names_are_served() {
    let bench = followed().await;
    let [first, second] = [Served::start().await, Served::start().await];
    let channel = |served: &Served| connect(&Target::Tcp(served.address.to_string()), None);
    let mut publishers = JoinSet::new();
    bench.names.be(vec![channel(&first)], &mut publishers);
    let stored = bench.put(Kind::Pod, "web-0", pod(true, false)).await;
    bench.served(stored.version).await;
    bench.names.be(vec![channel(&first), channel(&second)], &mut publishers);
    second.fake.until("who comes is told what there is", |told| told.pod("web-0").is_some()).await;
    bench.names.be(vec![channel(&second)], &mut publishers);
    let stored = bench.stored().await;
    assert!(!is_ready(&second) && is_ready(&first), "who left is told nothing");
    assert_eq!(bench.answer(), (1, 0));
    // The count of publications goes on: whoever is found again is told nothing that looks old.
    bench.names.be(vec![channel(&first)], &mut publishers);
    bench.announce(&stored).await.unwrap();
    assert!(is_ready(&first));
    bench.context.shutdown.cancel();
}
