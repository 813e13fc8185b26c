//! A provider that cannot be reached for a while, and is back.

use std::time::{Duration, Instant};

use mailsluice::sandbox::Sandbox;

use crate::support::client::{Numbered, offer};
use crate::support::scene::{Scene, Script};

#[test]
fn mail_goes_at_once_when_the_host_is_back_and_not_at_the_next_probe() {
    let authority = tempfile::tempdir().unwrap();
    let mut script = Script::default();
    script.sandbox.authority = Some(authority.path().to_owned());
    let mut settings = script.sandbox.clone();
    let Scene { sandbox, site, relay, runtime } = Scene::set(script);
    settings.listen = sandbox.address();
    runtime.block_on(sandbox.stop());
    let daemon = site.serve();
    runtime.block_on(offer(relay, 1, [Numbered(0)]));
    let deadline = Instant::now() + Duration::from_secs(60);
    // Probes become rarer: after some, there is time to come back before the next one.
    while site.json(&["account", "list", "--json"])[0]["next_probe_in"].as_u64().is_none_or(|seconds| seconds < 4) {
        assert!(Instant::now() < deadline);
    }
    let sandbox = runtime.block_on(Sandbox::start(settings)).unwrap();
    daemon.wait_for("knock", |line| line["event"] == "host_returned");
    runtime.block_on(sandbox.wait_for(1));
    daemon.wait_for("end of the pause", |line| line["event"] == "resumed");
    assert_eq!(daemon.events("host_returned").len(), 1);
    assert_eq!(daemon.stop(), 0);
}
