//! Each fault of a provider with 200 messages waiting: none fails that is not meant, and all others are delivered within a
//! minute after the fault ends and the lane is resumed.

mod effects;

use std::collections::HashSet;
use std::net::Ipv4Addr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use mailsluice::sandbox::{Fault, FaultRule, SandboxConfig, Service, Topic};
use serde_json::Value;

use self::effects::{EFFECTS, Effect};
use crate::support::client::{Numbered, Session};
use crate::support::daemon::Daemon;
use crate::support::scene::{Login, Scene, Script};

const MESSAGES: u32 = 200;

/// The account that meets a fault: at the service that has it, with the login that it is about.
fn script(fault: Fault) -> Script<'static> {
    let mut script = Script::default();
    let SandboxConfig { profile, user, password, .. } =
        SandboxConfig::of(fault.topic().service().unwrap_or(Service::Microsoft365));
    script.sandbox = SandboxConfig { profile, user, password, fault: Some(fault.into()), ..script.sandbox };
    // Only where the provider stays silent does anything wait for this.
    script.sandbox.profile.idle_timeout = if fault == Fault::NoBanner { SILENCE } else { Duration::from_secs(60) };
    script.login = match fault {
        Fault::TokenGrantExpired | Fault::TokenGrantRevoked | Fault::TokenMfa => Login::Refresh,
        Fault::BearerRefused | Fault::BearerUser => Login::Application,
        fault if fault.topic() == Topic::Tokens => Login::Application,
        _ => Login::Password,
    };
    script
}

#[test]
fn no_fault_of_the_provider_costs_a_message() {
    let all: Vec<Fault> = EFFECTS.iter().flat_map(|(_, faults)| faults.iter().copied()).collect();
    let listed: HashSet<Fault> = all.iter().copied().collect();
    let missing: Vec<_> = Fault::ALL.iter().filter(|fault| !listed.contains(fault)).collect();
    assert_eq!((missing.len(), all.len()), (0, Fault::ALL.len()), "each once; not these: {missing:?}");
    each_of(|effect| !matches!(effect, Effect::Failed | Effect::Other), survives);
}

#[test]
fn a_message_that_is_refused_for_good_fails_alone() {
    each_of(|effect| effect == Effect::Failed, |fault, _| fails_alone(fault));
}

/// Does this with all faults of such effects, several at a time.
fn each_of(such: fn(Effect) -> bool, show: fn(Fault, Effect)) {
    let such = EFFECTS.iter().filter(|(effect, _)| such(*effect));
    let faults: Vec<_> = such.flat_map(|(effect, faults)| faults.iter().map(|fault| (*fault, *effect))).collect();
    assert!(faults.len() > 20, "{}", faults.len());
    let (next, failed) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..AT_A_TIME {
            scope.spawn(|| {
                while let Some((fault, effect)) = faults.get(next.fetch_add(1, Ordering::Relaxed)) {
                    // The others are told of as well.
                    if std::panic::catch_unwind(|| show(*fault, *effect)).is_err() {
                        failed.lock().unwrap().push(fault.name());
                    }
                }
            });
        }
    });
    assert_eq!(failed.into_inner().unwrap(), [""; 0]);
}

/// One of the messages meets the fault.
fn fails_alone(fault: Fault) {
    let mut script = script(fault);
    script.sandbox.fault = Some(FaultRule::from(fault).first(1));
    let scene = Scene::set(script);
    let daemon = scene.serve();
    scene.offer(0..MESSAGES);
    let others = MESSAGES as usize - 1;
    daemon.wait_for_count("deliveries", others, |line| line["event"] == "delivered");
    daemon.wait_for("failure", |line| line["event"] == "failed");
    assert_eq!((daemon.events("failed").len(), daemon.events("delivered").len()), (1, others), "{fault}");
    for event in ["expired", "refused", "deferred", "uncertain", "paused", "resting"] {
        assert_eq!(daemon.events(event), [] as [Value; 0], "{fault}");
    }
    let numbers: HashSet<Numbered> = scene.sandbox.deliveries().iter().map(|one| Numbered::intact(one)).collect();
    assert_eq!((numbers.len(), scene.sandbox.deliveries().len()), (others, others), "{fault}: once each");
    assert_eq!(daemon.stop(), 0);
}

fn survives(fault: Fault, effect: Effect) {
    let scene = Scene::set(script(fault));
    let daemon = scene.serve();
    scene.offer(0..MESSAGES);
    strikes(&daemon, fault, effect);
    let stored = scene.sandbox.deliveries().len();
    assert!(stored == 0 || fault == Fault::CutAtDot, "{fault} let {stored} messages pass");

    scene.sandbox.set_fault(None::<FaultRule>);
    scene.command(&["account", "resume", "m365"]);
    let resumed = Instant::now();
    let delivered = daemon.wait_for_count("deliveries", MESSAGES as usize, |line| line["event"] == "delivered");
    let took = resumed.elapsed();
    assert!(took < Duration::from_secs(60), "{fault}: {took:?}");
    assert_eq!(delivered.len(), MESSAGES as usize, "{fault}: once each");
    for event in ["failed", "expired", "refused"] {
        assert_eq!(daemon.events(event), [] as [Value; 0], "{fault}");
    }
    assert_eq!(scene.site.json(&["queue", "list", "--json"]), Value::Array(vec![]), "{fault}: nothing is left");
    let deliveries = scene.sandbox.deliveries();
    let numbers: HashSet<Numbered> = deliveries.iter().map(|delivery| Numbered::intact(delivery)).collect();
    assert_eq!(numbers, (0..MESSAGES).map(Numbered).collect(), "{fault}");
    assert_eq!(deliveries.len(), stored + MESSAGES as usize, "{fault}: what the provider had taken comes twice");
    let accounts = scene.site.json(&["account", "list", "--json"]);
    assert_eq!(accounts[0]["standing"], "open", "{fault}: {accounts}");
    assert_eq!(daemon.stop(), 0);
}

#[test]
fn what_is_slow_or_odd_delays_mail_and_nothing_else() {
    let delayed = |fault, milliseconds| FaultRule::from(fault).delayed(Duration::from_millis(milliseconds));
    for rule in [delayed(Fault::SlowDot, 100), Fault::Latin1Reply.into(), delayed(Fault::TokenSlow, 1000)] {
        let fault = rule.fault;
        let mut script = script(fault);
        script.sandbox.fault = Some(rule);
        let scene = Scene::set(script);
        let daemon = scene.serve();
        scene.offer(0..MESSAGES);
        daemon.wait_for_count("deliveries", MESSAGES as usize, |line| line["event"] == "delivered");
        for event in ["failed", "expired", "refused", "deferred", "uncertain", "paused", "resting"] {
            assert_eq!(daemon.events(event), [] as [Value; 0], "{fault}");
        }
        let deliveries = scene.sandbox.deliveries();
        let numbers: HashSet<Numbered> = deliveries.iter().map(|delivery| Numbered::intact(delivery)).collect();
        assert_eq!((deliveries.len(), numbers), (MESSAGES as usize, (0..MESSAGES).map(Numbered).collect()), "{fault}");
        assert_eq!(daemon.stop(), 0);
    }
}

#[test]
fn a_client_hears_250_at_once_while_the_provider_says_nothing() {
    for rule in [FaultRule::from(Fault::SlowDot).delayed(Duration::from_secs(3600)), Fault::NoBanner.into()] {
        let fault = rule.fault;
        let mut script = script(fault);
        script.sandbox.fault = Some(rule);
        script.sandbox.profile.idle_timeout = Duration::from_secs(3600);
        let scene = Scene::set(script);
        let daemon = scene.serve();
        scene.offer(0..3);
        let deadline = Instant::now() + Duration::from_secs(60);
        while scene.site.json(&["queue", "list", "--fate", "sending", "--json"]) == Value::Array(vec![]) {
            assert!(Instant::now() < deadline, "{fault}: nothing is being sent");
        }
        let mut took: Vec<Duration> = scene.runtime.block_on(async {
            let mut session = Session::open(scene.relay, Ipv4Addr::LOCALHOST).await.unwrap();
            let mut took = Vec::new();
            for number in 3..24 {
                let begun = Instant::now();
                let reply = session.send(&Numbered(number)).await.unwrap();
                assert!(reply.starts_with("250 2.0.0 "), "{fault}: {reply}");
                took.push(begun.elapsed());
            }
            took
        });
        took.sort();
        assert!(took[took.len() / 2] < Duration::from_millis(100), "{fault}: {took:?}");
        assert_eq!(daemon.events("delivered"), [] as [Value; 0], "{fault}");
    }
}

/// Waits until the fault has done all that it does, and holds it against what it should do.
fn strikes(daemon: &Daemon, fault: Fault, effect: Effect) {
    let all = MESSAGES as usize;
    let (event, kind) = match effect {
        Effect::Paused(kind) => ("paused", kind),
        Effect::Resting(kind) => ("resting", kind),
        Effect::Deferred | Effect::Uncertain => {
            daemon.wait_for_count("deferrals", all, |line| line["event"] == "deferred");
            let uncertain = if effect == Effect::Uncertain { all } else { 0 };
            assert_eq!(daemon.events("uncertain").len(), uncertain, "{fault}");
            assert_eq!((daemon.events("paused").len(), daemon.events("resting").len()), (0, 0), "{fault}");
            return;
        }
        Effect::Failed | Effect::Other => panic!("{fault} is not for this"),
    };
    let stopped = daemon.wait_for("stop of the lane", |line| line["event"] == "paused" || line["event"] == "resting");
    assert_eq!((&stopped["event"], &stopped["kind"]), (&Value::from(event), &Value::from(kind)), "{fault}: {stopped}");
}

/// More would only wait for processors.
const AT_A_TIME: usize = 8;
/// How long a provider that sends no banner keeps a connection.
const SILENCE: Duration = Duration::from_secs(1);
