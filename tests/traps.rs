//! Each fault of a provider with 200 messages waiting: none fails, and all are delivered within a minute after the fault
//! ends and the lane is resumed.

use std::collections::HashSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use mailsluice::sandbox::{Fault, FaultRule, SandboxConfig, Service, Topic};
use serde_json::Value;

use crate::support::client::Numbered;
use crate::support::daemon::Daemon;
use crate::support::scene::{Login, Scene, Script};

const MESSAGES: u32 = 200;

/// What a fault does to the mail that waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Effect {
    /// The lane stops until somebody has done something, for this kind of cause.
    Paused(&'static str),
    /// The lane rests, for this kind of cause.
    Resting(&'static str),
    /// Each message is put off on its own.
    Deferred,
    /// Each message is put off on its own, though the provider has it.
    Uncertain,
}

/// What a fault that concerns the account does; none where it is the message's own, or none at all.
fn effect(fault: Fault) -> Option<Effect> {
    use Effect::{Deferred, Paused, Resting, Uncertain};
    Some(match fault {
        Fault::AuthIncorrect
        | Fault::AuthUnsuccessful
        | Fault::AuthDisabledTenant
        | Fault::AuthDisabledMailbox
        | Fault::BasicAuthDisabled
        | Fault::BasicAuthRetired
        | Fault::AuthLocked
        | Fault::AuthCriteria
        | Fault::AccountLocked
        | Fault::StsUnreachable
        | Fault::StsNoHttps
        | Fault::BearerRefused
        | Fault::BearerUser
        | Fault::MechanismUnknown
        | Fault::AuthTempfail
        | Fault::StarttlsFirst
        | Fault::CutAtAuth
        | Fault::NotAuthenticated
        | Fault::NotAuthenticatedOld
        | Fault::SesCredentials
        | Fault::SesNotSubscribed
        | Fault::SesAuthTempfail
        | Fault::SesAuthRequired
        | Fault::MailjetCredentials
        | Fault::GoogleCredentials
        | Fault::GoogleAppPassword
        | Fault::GoogleTooManyLogins => Paused("login"),
        Fault::TokenInvalidClient
        | Fault::TokenSecretExpired
        | Fault::TokenAppUnknown
        | Fault::TokenTenantUnknown
        | Fault::TokenGrantExpired
        | Fault::TokenGrantRevoked
        | Fault::TokenMfa
        | Fault::TokenConditionalAccess
        | Fault::TokenNoConsent
        | Fault::TokenThrottled
        | Fault::TokenUnavailable
        | Fault::TokenCut => Paused("login"),
        Fault::MailboxFull
        | Fault::MailboxFullOld
        | Fault::BadOutboundSender
        | Fault::Banned501
        | Fault::Banned502
        | Fault::Banned503
        | Fault::TenantThreshold
        | Fault::IpRefused
        | Fault::UnregisteredDomain
        | Fault::ConnectorDenied
        | Fault::WrongRegion
        | Fault::DirectSend
        | Fault::BadHelo
        | Fault::SesAccessDenied
        | Fault::SesNotVerifiedSender
        | Fault::SesMailFrom
        | Fault::SesPaused => Paused("account"),
        Fault::Quota
        | Fault::QuotaOnPremises
        | Fault::DailyLimit
        | Fault::TenantLimit
        | Fault::TrialLimit
        | Fault::SesDailyQuota
        | Fault::GoogleDailyLimit
        | Fault::GoogleRelayUserLimit
        | Fault::GoogleRelayCustomerLimit => Resting("quota"),
        Fault::Rate
        | Fault::Concurrency
        | Fault::ConcurrencyOld
        | Fault::TooManyConnections
        | Fault::ServerBusy
        | Fault::Greylisted
        | Fault::SuspiciousIp
        | Fault::SesConnections
        | Fault::SesThrottled
        | Fault::SesSigv2
        | Fault::MailjetHourlyLimit
        | Fault::GoogleRelayPeak
        | Fault::GoogleTryLater => Resting("rate"),
        Fault::SendAs
        | Fault::SendAsDenied
        | Fault::SendAsDeniedOld
        | Fault::SesConfigurationSet
        | Fault::MailjetSender
        | Fault::MailjetBlocked
        | Fault::Unlisted
        | Fault::UnlistedMail => Paused("suspicion"),
        Fault::ServiceUnavailable
        | Fault::TlsTooOld
        | Fault::TlsNotAllowed
        | Fault::TooManyErrors
        | Fault::SessionTimeout
        | Fault::Dropped
        | Fault::Down
        | Fault::NoBanner
        | Fault::CutAtGreeting
        | Fault::CutAtEhlo
        | Fault::CutAtStarttls
        | Fault::CutAtTls
        | Fault::BytesAfterStarttls
        | Fault::NoStarttls
        | Fault::BadCertificate => Paused("connect"),
        Fault::TooManyRecipients
        | Fault::Tempfail
        | Fault::TempfailDot
        | Fault::Attribution
        | Fault::NotReplicated
        | Fault::NoResources
        | Fault::OrganizationQueue
        | Fault::RecipientThreads
        | Fault::RecipientRate
        | Fault::RecipientFlood
        | Fault::ClientTimeout
        | Fault::SesTempfail
        | Fault::SesTempfailDot
        | Fault::SesTimeout
        | Fault::MailjetTooManyRecipients
        | Fault::CutAtMail
        | Fault::CutAtRcpt
        | Fault::CutAtData => Deferred,
        // A small message is on its way with its final dot before the relay can hear that nobody reads it.
        Fault::CutAtContent | Fault::CutAtDot | Fault::CutBeforeDotStored => Uncertain,
        fault if is_the_messages_own(fault) => return None,
        Fault::SlowDot
        | Fault::Latin1Reply
        | Fault::TokenSlow
        // Nobody waits for a device code but a person.
        | Fault::DeviceDeclined
        | Fault::DeviceExpired
        | Fault::DeviceSlowDown => return None,
        other => panic!("{other}: what does it do to the mail that waits?"),
    })
}

/// Whether the provider means the message or its recipient by it, and may be believed.
fn is_the_messages_own(fault: Fault) -> bool {
    let of_ses = matches!(
        fault,
        Fault::SesNotVerifiedRecipient
            | Fault::SesTooLong
            | Fault::SesInvalidAddress
            | Fault::SesUnknownAddress
            | Fault::SesDuplicateHeader
    );
    let anywhere = matches!(fault, Fault::MailjetTooBig | Fault::RejectRecipient | Fault::RejectSubject);
    fault.topic() == Topic::Message || of_ses || anywhere
}

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
    let faults: Vec<(Fault, Effect)> =
        Fault::ALL.iter().filter_map(|fault| effect(*fault).map(|effect| (*fault, effect))).collect();
    assert_eq!(faults.len(), Fault::ALL.len() - 34);
    let (next, failed) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..AT_A_TIME {
            scope.spawn(|| {
                while let Some((fault, effect)) = faults.get(next.fetch_add(1, Ordering::Relaxed)) {
                    // The others are told of as well.
                    if std::panic::catch_unwind(|| survives(*fault, *effect)).is_err() {
                        failed.lock().unwrap().push(fault.name());
                    }
                }
            });
        }
    });
    assert_eq!(failed.into_inner().unwrap(), [""; 0]);
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
    };
    let stopped = daemon.wait_for("stop of the lane", |line| line["event"] == "paused" || line["event"] == "resting");
    assert_eq!((&stopped["event"], &stopped["kind"]), (&Value::from(event), &Value::from(kind)), "{fault}: {stopped}");
}

/// More would only wait for processors.
const AT_A_TIME: usize = 8;
/// How long a provider that sends no banner keeps a connection.
const SILENCE: Duration = Duration::from_secs(1);
