use tokio::time::Instant;

use super::*;

fn listener(most: usize) -> ListenerConfig {
    ListenerConfig {
        networks: vec!["10.0.0.0/8".parse().unwrap(), "2001:db8::/32".parse().unwrap()],
        max_connections_per_client: most,
        ..ListenerConfig::new(vec![], "relay.example")
    }
}

fn ip(text: &str) -> Origin {
    Origin::of(text.parse().unwrap())
}

#[tokio::test]
async fn strangers_are_told_what_to_do_and_logged_a_little() {
    let admission = Admission::new();
    let mut loud = 0;
    for _ in 0..100 {
        match admission.admit(ip("192.0.2.1"), &listener(1)).await {
            Err(Rejection::Loud(reply)) => {
                assert_eq!(reply.code, 554);
                assert!(reply.text().contains("192.0.2.1") && reply.text().contains("`networks`"), "{reply}");
                loud += 1;
            }
            Err(Rejection::Quiet(reply)) => assert_eq!(reply.code, 554),
            Ok(_) => panic!("a stranger was let in"),
        }
    }
    assert_eq!(loud, REJECTED_LINES.get());
}

#[tokio::test(start_paused = true)]
async fn a_client_with_too_many_connections_waits_for_one_to_end() {
    let admission = Admission::new();
    let first = admission.admit(ip("10.0.0.1"), &listener(1)).await.unwrap();
    let _other = admission.admit(ip("10.0.0.2"), &listener(1)).await.unwrap();
    let refused = admission.admit(ip("10.0.0.1"), &listener(1)).await;
    assert!(matches!(refused, Err(Rejection::Loud(reply)) if reply.code == 421));
    let waiting = admission.clone();
    let second = tokio::spawn(async move { waiting.admit(ip("10.0.0.1"), &listener(1)).await.is_ok() });
    tokio::task::yield_now().await;
    drop(first);
    assert!(second.await.unwrap());
    assert_eq!(admission.tally.borrow().by_origin.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn no_more_of_a_client_wait_than_are_served() {
    let admission = Admission::new();
    let begun = Instant::now();
    let admit = || {
        let admission = admission.clone();
        tokio::spawn(async move { admission.admit(ip("10.0.0.1"), &listener(2)).await })
    };
    let served = [admit().await.unwrap().unwrap(), admit().await.unwrap().unwrap()];
    let waiting = [admit(), admit()];
    tokio::task::yield_now().await;
    let refused = admit().await.unwrap();
    assert!(matches!(refused, Err(Rejection::Loud(reply)) if reply.code == 421));
    assert_eq!(begun.elapsed(), Duration::ZERO);
    drop(served);
    for place in waiting {
        place.await.unwrap().unwrap();
    }
    assert!(admission.tally.borrow().by_origin.is_empty());
}

#[tokio::test]
async fn one_host_of_ipv6_is_one_client() {
    let admission = Admission::new();
    let _one = admission.admit(ip("2001:db8::1"), &listener(2)).await.unwrap();
    let _two = admission.admit(ip("2001:db8::2"), &listener(2)).await.unwrap();
    let tally = admission.tally.borrow();
    assert_eq!(tally.by_origin.values().map(|count| count.served).collect::<Vec<_>>(), [2]);
}

#[tokio::test(start_paused = true)]
async fn room_comes_with_an_end_and_with_new_settings() {
    let admission = Admission::new();
    let listener = |most| ListenerConfig { max_connections: most, ..listener(1) };
    let settings = |most| Arc::new(Settings::read(listener(most), vec![]).unwrap());
    let (sender, receiver) = watch::channel(settings(1));
    let waits = |admission: &Arc<Admission>| {
        let (admission, mut receiver) = (admission.clone(), receiver.clone());
        tokio::spawn(async move { admission.room(&mut receiver).await })
    };
    let _waiting: Vec<Seat> = (0..WAITING).map(|_| admission.sit()).collect();
    waits(&admission).await.unwrap();
    let seat = admission.sit();
    let waiting = waits(&admission);
    tokio::task::yield_now().await;
    assert!(!waiting.is_finished());
    drop(seat);
    tokio::time::timeout(PATIENCE, waiting).await.unwrap().unwrap();
    let _seat = admission.sit();
    let waiting = waits(&admission);
    tokio::task::yield_now().await;
    assert!(!waiting.is_finished());
    sender.send_replace(settings(2));
    tokio::time::timeout(PATIENCE, waiting).await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn where_there_are_too_many_in_all_one_waits_and_is_told_in_the_end() {
    let admission = Admission::new();
    let listener = ListenerConfig { max_connections: 1, ..listener(10) };
    let begun = Instant::now();
    let first = admission.admit(ip("10.0.0.1"), &listener).await.unwrap();
    for other in ["10.0.0.1", "10.0.0.2"] {
        let Err(Rejection::Loud(reply)) = admission.admit(ip(other), &listener).await else { panic!("{other}") };
        assert!(reply.code == 421 && reply.text().contains("raise `max_connections` of"), "{reply}");
    }
    assert_eq!(begun.elapsed(), 2 * PATIENCE);
    let (waiting, limits) = (admission.clone(), listener.clone());
    let second = tokio::spawn(async move { waiting.admit(ip("10.0.0.2"), &limits).await });
    tokio::task::yield_now().await;
    drop(first);
    let _second = second.await.unwrap().unwrap();
    assert_eq!(begun.elapsed(), 2 * PATIENCE);
    assert_eq!((admission.tally.borrow().served, admission.tally.borrow().by_origin.len()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn whoever_comes_by_a_unix_socket_is_let_in_and_counted_by_user() {
    let admission = Admission::new();
    let nobody = ListenerConfig { networks: vec![], max_connections: 2, ..listener(1) };
    let first = admission.admit(Origin::Local(33), &nobody).await.unwrap();
    let refused = admission.admit(Origin::Local(33), &nobody).await;
    assert!(matches!(refused, Err(Rejection::Loud(reply)) if reply.code == 421 && reply.text().contains("uid 33")));
    let _other = admission.admit(Origin::Local(34), &nobody).await.unwrap();
    drop(first);
    admission.admit(Origin::Local(33), &nobody).await.unwrap();
}
