//! `[account.oauth]`: how an account gets its tokens (RFC 6749, RFC 7523, RFC 8628), with the addresses and scopes of
//! Microsoft and Google where nothing else is written.

use super::problem::Report;
use super::table::Table;
use super::{ClientProof, Grant, OAuth, Surroundings, login, value};

pub(super) const KEYS: &[&str] = &[
    "issuer",
    "tenant",
    "authority",
    "client_id",
    "client_secret",
    "certificate",
    "key",
    "refresh_token",
    "scope",
    "token_url",
    "device_url",
    "expires",
];

/// Whose tokens they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Issuer {
    /// Microsoft Entra ID.
    Microsoft,
    /// Google.
    Google,
}

/// Reads the table, where there is one.
pub(super) fn read(account: &Table<'_>, report: &mut Report<'_>, around: &Surroundings) -> Option<OAuth> {
    let wanted = "a table [account.oauth]";
    let table = account.table(report, "oauth", ("account.oauth", KEYS), wanted)?;
    let issuer = table.read_or(report, "issuer", Issuer::Microsoft, |v| value::word(v, &ISSUERS));
    let client_id = text(&table, report, "client_id", "the client id (application id) of the registration");
    table.require(report, "client_id", "the client id (application id) of the registration");
    let addresses = addresses(&table, report, issuer);
    let proof = proof(&table, report, around);
    let seed = login::read_secret(&table, report, around, "refresh_token", "account.oauth.refresh_token");
    let scope = text(&table, report, "scope", "a scope, or several apart by spaces");
    let expires = table.read(report, "expires", value::date).map(|at| at.value);
    // A user's mailbox by the device code flow, or by a refresh token; else the application's own.
    let of_user = issuer == Issuer::Google || seed.is_some() || matches!(proof, Some(ClientProof::None));
    let grant = if of_user { Grant::User { seed } } else { Grant::Application };
    let default = match (issuer, of_user) {
        (Issuer::Google, _) => "https://mail.google.com/",
        (Issuer::Microsoft, true) => "https://outlook.office.com/SMTP.Send offline_access",
        (Issuer::Microsoft, false) => "https://outlook.office365.com/.default",
    };
    let (token_url, device_url) = addresses?;
    Some(OAuth {
        client_id: client_id?,
        proof: proof?,
        grant,
        scope: scope.unwrap_or_else(|| default.into()),
        token_url,
        device_url,
        expires,
    })
}

/// How the application shows who it is. None where it cannot be told, which is reported.
fn proof(table: &Table<'_>, report: &mut Report<'_>, around: &Surroundings) -> Option<ClientProof> {
    let secret = login::read_secret(table, report, around, "client_secret", "account.oauth.client_secret");
    let names = ("account.oauth.certificate", "account.oauth.key");
    let certificate = login::read_certificate(table, report, around, names);
    if table.has("client_secret") && table.has("certificate") {
        let line = table.line_of(report, "certificate");
        report.add(line, &table.path("certificate"), "a value beside client_secret", "one of the two");
    }
    match (table.has("client_secret"), table.has("certificate") || table.has("key")) {
        (true, _) => secret.map(ClientProof::Secret),
        (false, true) => certificate.map(ClientProof::Certificate),
        (false, false) => Some(ClientProof::None),
    }
}

/// Where tokens and device codes come from.
fn addresses(table: &Table<'_>, report: &mut Report<'_>, issuer: Issuer) -> Option<(String, String)> {
    let token_url = table.read(report, "token_url", value::web_address).map(|at| at.value);
    let device_url = table.read(report, "device_url", value::web_address).map(|at| at.value);
    let authority = table.read(report, "authority", value::web_address).map(|at| at.value);
    let tenant = table.read(report, "tenant", |v| value::host(v, TENANT)).map(|at| at.value);
    if issuer == Issuer::Google {
        let own = ["tenant", "authority"].into_iter().filter(|key| table.has(key)).collect::<Vec<_>>();
        for key in own {
            report.add(table.line_of(report, key), &table.path(key), "a value", "no such key with issuer = \"google\"");
        }
        let google = |end: &str| format!("https://oauth2.googleapis.com/{end}");
        return Some((
            token_url.unwrap_or_else(|| google("token")),
            device_url.unwrap_or_else(|| google("device/code")),
        ));
    }
    if !table.has("token_url") {
        table.require(report, "tenant", TENANT);
    }
    let authority = authority.unwrap_or_else(|| MICROSOFT.into());
    let of_tenant = |end: &str| {
        let tenant = tenant.as_deref()?;
        Some(format!("{}/{tenant}/oauth2/v2.0/{end}", authority.trim_end_matches('/')))
    };
    let token_url = token_url.or_else(|| of_tenant("token"))?;
    // Beside a token address of one's own, the device's is its neighbour.
    let neighbour = || token_url.strip_suffix("token").map(|folder| format!("{folder}devicecode"));
    let device_url = device_url.or_else(neighbour).or_else(|| of_tenant("devicecode"));
    Some((token_url.clone(), device_url.unwrap_or_else(|| token_url.clone())))
}

fn text(table: &Table<'_>, report: &mut Report<'_>, key: &str, wanted: &str) -> Option<String> {
    table.read(report, key, |v| value::text(v, wanted)).map(|at| at.value)
}

const ISSUERS: [(&str, Issuer); 2] = [("microsoft", Issuer::Microsoft), ("google", Issuer::Google)];
const MICROSOFT: &str = "https://login.microsoftonline.com";
const TENANT: &str = "the tenant: its domain, such as \"contoso.onmicrosoft.com\", or its id";
