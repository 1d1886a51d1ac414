use std::sync::Condvar;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::state::{LATE, LOST, NAMES, STALE};
use super::*;

/// Far longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(20);

/// A resolver whose look-ups wait until they are released.
#[derive(Default)]
struct Gate {
    asked: Mutex<Vec<String>>,
    open: Mutex<bool>,
    changed: Condvar,
    running: AtomicUsize,
    most: AtomicUsize,
}

impl Gate {
    fn names(self: &Arc<Self>, answer: impl Fn(&str) -> Resolved + Send + Sync + 'static) -> Names {
        let gate = Arc::clone(self);
        Names::asking(move |host| {
            gate.asked.lock().unwrap().push(host.to_owned());
            let running = gate.running.fetch_add(1, Ordering::SeqCst) + 1;
            gate.most.fetch_max(running, Ordering::SeqCst);
            let open = gate.open.lock().unwrap();
            drop(gate.changed.wait_while(open, |open| !*open).unwrap());
            gate.running.fetch_sub(1, Ordering::SeqCst);
            answer(host)
        })
    }

    fn open(&self) {
        *self.open.lock().unwrap() = true;
        self.changed.notify_all();
    }

    fn asked(&self) -> usize {
        self.asked.lock().unwrap().len()
    }
}

fn address(port: u16) -> SocketAddr {
    ([127, 0, 0, 1], port).into()
}

fn good(_: &str) -> Resolved {
    Ok([address(0)].into())
}

fn fails(is_temporary: bool) -> Resolved {
    Err(Fault {
        words: "failed".to_owned(),
        is_temporary,
    })
}

async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

#[tokio::test]
async fn an_address_is_no_name() {
    let names = Names::asking(|_| unreachable!());
    for host in ["192.0.2.1", "2001:db8::1"] {
        let found = names.look_up(host, 80, PATIENCE).await.unwrap();
        assert_eq!(
            found.addresses,
            [(host.parse::<IpAddr>().unwrap(), 80).into()]
        );
    }
}

#[tokio::test]
async fn the_system_knows_localhost_and_no_invalid_name() {
    let names = Names::new();
    let found = names.look_up("localhost", 80, PATIENCE).await.unwrap();
    assert!(found.addresses.contains(&address(80)), "{found:?}");
    // RFC 6761 section 6.4; without a name server it is a temporary failure.
    let failure = names.look_up("no.invalid", 80, PATIENCE).await.unwrap_err();
    assert_eq!(failure.reason, Reason::UpstreamDnsFailed);
}

#[tokio::test]
async fn all_who_want_a_name_share_one_look_up_and_the_next_gets_its_own() {
    let gate = Arc::new(Gate::default());
    let names = gate.names(good);
    let asking: Vec<_> = (1..=100)
        .map(|port| {
            let names = names.clone();
            tokio::spawn(async move { names.look_up("a.test", port, PATIENCE).await })
        })
        .collect();
    until("the waiting", || {
        let state = names.0.lock();
        let name = state
            .names
            .get("a.test")
            .and_then(|name| name.look_up.as_ref());
        name.is_some_and(|look_up| look_up.answer.receiver_count() == 100)
    })
    .await;
    gate.open();
    for (port, asked) in (1..).zip(asking) {
        let found = asked.await.unwrap().unwrap();
        assert_eq!(found.addresses, [address(port)]);
    }
    assert_eq!(gate.asked(), 1);
    names.look_up("a.test", 1, PATIENCE).await.unwrap();
    assert_eq!(gate.asked(), 2, "a good answer is not kept");
}

#[tokio::test]
async fn so_many_run_at_a_time_and_the_others_in_turn() {
    let gate = Arc::new(Gate::default());
    let names = gate.names(good);
    let asking: Vec<_> = (0..100)
        .map(|number| {
            let names = names.clone();
            tokio::spawn(async move {
                let host = format!("n{number}.test");
                names.look_up(&host, 1, PATIENCE).await
            })
        })
        .collect();
    until("the queue", || names.0.lock().names.len() == 100).await;
    until("the first", || gate.asked() == RUNNING).await;
    gate.open();
    for asked in asking {
        asked.await.unwrap().unwrap();
    }
    assert_eq!(gate.asked(), 100);
    assert_eq!(gate.most.load(Ordering::SeqCst), RUNNING);
    until("the threads' end", || names.0.lock().running == 0).await;
}

#[tokio::test]
async fn a_name_that_nobody_waits_for_any_more_is_not_asked_for() {
    let gate = Arc::new(Gate::default());
    let names = gate.names(good);
    let mut asking = Vec::new();
    for number in 0..RUNNING {
        let names = names.clone();
        asking.push(tokio::spawn(async move {
            let host = format!("n{number}.test");
            names.look_up(&host, 1, PATIENCE).await
        }));
    }
    until("the first", || gate.asked() == RUNNING).await;
    let last = format!("n{RUNNING}.test");
    let brief = Duration::from_millis(1);
    let failure = names.look_up(&last, 1, brief).await.unwrap_err();
    assert_eq!(failure.reason, Reason::UpstreamDnsFailed);
    let detail = failure.detail.unwrap();
    assert!(detail.contains("could not start within 1ms"), "{detail}");
    assert!(failure.hint.is_some());
    gate.open();
    until("the threads' end", || names.0.lock().running == 0).await;
    assert_eq!(gate.asked(), RUNNING);
    names.look_up(&last, 1, PATIENCE).await.unwrap();
    assert_eq!(gate.asked(), RUNNING + 1, "it can be asked for again");
    for asked in asking {
        asked.await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn the_last_good_answer_is_for_failures_that_say_nothing_of_the_name() {
    let turn = AtomicUsize::new(0);
    let names = Names::asking(move |host| match turn.fetch_add(1, Ordering::SeqCst) {
        0 => fails(true),
        1 | 4 => good(host),
        2 | 6 => fails(true),
        3 => panic!("of a test"),
        _ => fails(false),
    });
    // Nothing is known yet.
    assert!(names.look_up("a.test", 1, PATIENCE).await.is_err());
    for is_old in [false, true, true, false] {
        let found = names.look_up("a.test", 1, PATIENCE).await.unwrap();
        assert_eq!(found.addresses, [address(1)]);
        assert_eq!(found.note.is_some(), is_old, "{found:?}");
    }
    // The name is gone, and its late answer does not bring it back.
    for _ in 0..2 {
        assert!(names.look_up("a.test", 1, PATIENCE).await.is_err());
    }
}

#[tokio::test]
async fn where_a_look_up_hangs_the_last_good_answer_leaves_time_for_the_rest() {
    let gate = Arc::new(Gate::default());
    let names = gate.names(good);
    gate.open();
    names.look_up("a.test", 1, PATIENCE).await.unwrap();
    *gate.open.lock().unwrap() = false;
    let begun = Instant::now();
    let patience = Duration::from_millis(300);
    for _ in 0..3 {
        let found = names.look_up("a.test", 1, patience).await.unwrap();
        let note = found.note.unwrap();
        assert_eq!(note.code, NoteCode::DnsAnswerStale);
        let detail = note.detail.unwrap();
        let why = "s old; no answer from the resolver in 150ms";
        assert!(detail.contains(why), "{detail}");
    }
    assert!(begun.elapsed() >= patience / 2);
    assert_eq!(
        gate.asked(),
        2,
        "one that hangs is waited for, not repeated"
    );
    gate.open();
}

#[test]
fn an_answer_is_the_last_good_one_for_a_minute() {
    let now = Instant::now();
    let name = Name {
        last_good: Some((now, [address(0)].into())),
        ..Name::default()
    };
    assert!(name.last_good(now + Duration::from_secs(60)).is_some());
    assert!(
        name.last_good(now + Duration::from_millis(60_001))
            .is_none()
    );
}

#[test]
fn names_are_forgotten_where_there_are_too_many() {
    let now = Instant::now();
    let mut state = LookUps::default();
    for number in 0..NAMES {
        let name = Name {
            last_good: Some((now, [address(0)].into())),
            ..Name::default()
        };
        state.names.insert(format!("n{number}.test").into(), name);
    }
    assert!(state.make_room(now).unwrap_err().is_temporary);
    let later = now + STALE + Duration::from_millis(1);
    assert!(state.make_room(later).is_ok());
    assert!(state.names.is_empty());
}

/// Look-ups of `dead…` names wait until they are released; all others succeed.
fn partly_dead(gate: &Arc<Gate>) -> Names {
    let dead = gate.names(good);
    Names::asking(move |host| match host.starts_with("dead") {
        true => (dead.0.ask)(host),
        false => good(host),
    })
}

/// Makes all running look-ups so old that they count as lost.
fn grow_late(names: &Names) {
    for one in &mut names.0.lock().under_way {
        one.begun = one.begun.checked_sub(LATE).unwrap();
    }
}

/// Starts to look up a name and waits only until it has begun.
async fn begin(names: &Names, gate: &Gate, host: &str) {
    let before = gate.asked();
    let waiting = {
        let (names, host) = (names.clone(), host.to_owned());
        tokio::spawn(async move { names.look_up(&host, 1, PATIENCE).await })
    };
    until(host, || gate.asked() > before).await;
    waiting.abort();
}

#[tokio::test]
async fn one_that_never_returns_holds_neither_its_name_nor_the_place_of_another() {
    let gate = Arc::new(Gate::default());
    let names = partly_dead(&gate);
    for number in 0..RUNNING {
        begin(&names, &gate, &format!("dead{number}.test")).await;
    }
    let brief = Duration::from_millis(1);
    let failure = names.look_up("a.test", 1, brief).await.unwrap_err();
    assert!(failure.detail.unwrap().contains("could not start"));
    grow_late(&names);
    names.look_up("a.test", 1, PATIENCE).await.unwrap();
    begin(&names, &gate, "dead0.test").await;
    assert_eq!(names.0.lock().lost, RUNNING);
    gate.open();
    until("the threads' end", || {
        let state = names.0.lock();
        (state.running, state.lost, state.under_way.len()) == (0, 0, 0)
    })
    .await;
    names.look_up("dead0.test", 1, PATIENCE).await.unwrap();
}

#[tokio::test]
async fn who_waits_for_one_that_is_lost_is_told() {
    let gate = Arc::new(Gate::default());
    let names = partly_dead(&gate);
    let waiting = {
        let names = names.clone();
        tokio::spawn(async move { names.look_up("dead.test", 1, PATIENCE).await })
    };
    until("the look-up", || gate.asked() == 1).await;
    grow_late(&names);
    names.look_up("a.test", 1, PATIENCE).await.unwrap();
    let detail = waiting.await.unwrap().unwrap_err().detail.unwrap();
    assert_eq!(detail, "dead.test: no answer from the resolver in 1m");
    gate.open();
}

/// One name never uses all threads that may be lost, and their number is bounded.
#[tokio::test]
async fn so_many_are_lost_and_no_more() {
    let gate = Arc::new(Gate::default());
    let names = partly_dead(&gate);
    for number in 0..LOST + RUNNING {
        begin(&names, &gate, &format!("dead{number}.test")).await;
        grow_late(&names);
    }
    let brief = Duration::from_millis(1);
    for host in ["dead0.test", "a.test"] {
        let failure = names.look_up(host, 1, brief).await.unwrap_err();
        assert_eq!(failure.reason, Reason::UpstreamDnsFailed);
    }
    assert_eq!(names.0.lock().lost, LOST);
    assert_eq!(gate.most.load(Ordering::SeqCst), LOST + RUNNING);
    gate.open();
    until("the threads' end", || {
        let state = names.0.lock();
        state.running == 0 && state.lost == 0
    })
    .await;
    names.look_up("a.test", 1, PATIENCE).await.unwrap();
}

#[test]
fn a_name_whose_look_ups_get_lost_is_asked_for_less_and_less() {
    let now = Instant::now();
    let mut state = LookUps {
        lost: 1,
        ..LookUps::default()
    };
    for (lost, minutes) in [(1, 0), (2, 1), (3, 3), (4, 7), (24, 65_535 / 2)] {
        let name = Name {
            lost,
            lost_since: Some(now),
            ..Name::default()
        };
        state.names.insert("a.test".into(), name);
        let pause = LATE * minutes;
        assert!(state.may_ask("a.test", now + pause).is_ok(), "{lost}");
        if let Some(early) = pause.checked_sub(Duration::from_millis(1)) {
            let fault = state.may_ask("a.test", now + early).unwrap_err();
            assert!(fault.is_temporary, "{lost}");
        }
    }
    assert!(state.may_ask("b.test", now).is_ok());
}
