//! Sites whose mail stays in the queue, or goes into a folder, and what their commands say of it.

use std::collections::BTreeSet;
use std::process::Output;

use super::daemon::Site;

/// The account's host answers nowhere, so that the mail stays in the queue.
pub(crate) const KEPT: &str = "name = \"nowhere\"\nprovider = \"smtp\"\nhost = \"127.0.0.1\"\nport = 9\ntls = \"none\"";
/// Everything is delivered, into a folder.
pub(crate) const DELIVERED: &str = "name = \"folder\"\nprovider = \"directory\"\npath = \"SITE/out\"";

/// A configuration with this account.
pub(crate) fn config(account: &str) -> String {
    format!(
        "[queue]\npath = \"SITE/queue.db\"\nmin_free = \"0B\"\nephemeral = true\n\
         [[listener]]\naddress = \"127.0.0.1:0\"\nhostname = \"relay.example\"\n[[account]]\n{account}\n"
    )
}

/// The queue ids of what is not done.
pub(crate) fn ids(site: &Site) -> BTreeSet<String> {
    let list = site.json(&["queue", "list", "--limit", "10000", "--json"]);
    list.as_array().unwrap().iter().map(|one| one["queue_id"].as_str().unwrap().to_owned()).collect()
}

/// All that a command has said.
pub(crate) fn told(output: &Output) -> String {
    [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text).into_owned()).concat()
}
