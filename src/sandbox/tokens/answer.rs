//! What the token endpoint answers: JSON as Microsoft Entra ID words it, and two pages for a person.

use std::time::Duration;

use serde_json::{Value, json};

use crate::sandbox::fault::Denial;
use crate::sandbox::random::guid;
use crate::sandbox::replies::fill;
use crate::time;

/// An answer, or none.
pub(super) enum Answer {
    /// JSON, with the HTTP status and how long to wait before the next request.
    Json(u16, Option<Duration>, Value),
    /// A page in HTML.
    Page(u16, String),
    /// The connection closes.
    Cut,
}

impl Answer {
    pub(super) fn granted(body: Value) -> Self {
        Self::Json(200, None, body)
    }

    /// The denial of a request by this application in this tenant.
    pub(super) fn denied(denial: &Denial, client_id: &str, tenant: &str) -> Self {
        let sentence = fill(denial.text, &[("client_id", client_id), ("tenant", tenant)]);
        let (trace, correlation) = (guid(), guid());
        let moment = time::wall_clock().to_string();
        let moment = format!("{}Z", moment.get(..19).unwrap_or(&moment).replace('T', " "));
        let number = if denial.number == 0 { String::new() } else { format!("AADSTS{}: ", denial.number) };
        let codes: Vec<u32> = (denial.number != 0).then_some(denial.number).into_iter().collect();
        let body = json!({
            "error": denial.error,
            "error_description": format!(
                "{number}{sentence} Trace ID: {trace} Correlation ID: {correlation} Timestamp: {moment}"
            ),
            "error_codes": codes,
            "timestamp": moment,
            "trace_id": trace,
            "correlation_id": correlation,
        });
        Self::Json(denial.status, None, body)
    }

    /// The same, with a time to wait.
    pub(super) fn after(self, wait: Duration) -> Self {
        match self {
            Self::Json(status, _, body) => Self::Json(status, Some(wait), body),
            other => other,
        }
    }

    /// The page on which a person enters a user code.
    pub(super) fn form() -> Self {
        Self::page(
            200,
            "<p>Enter the code that the relay shows.</p><form method=\"post\"><input name=\"user_code\" autofocus> \
             <button>Approve</button></form>",
        )
    }

    pub(super) fn approved() -> Self {
        Self::page(200, "<p>Approved. The relay has its tokens in a moment; this page can be closed.</p>")
    }

    pub(super) fn no_such_code() -> Self {
        Self::page(
            400,
            "<p>There is no such code, or it has expired. <a href=\"/devicelogin\">Enter another one.</a></p>",
        )
    }

    pub(super) fn not_found() -> Self {
        Self::page(404, "<p>There is nothing here. Codes are entered at <a href=\"/devicelogin\">/devicelogin</a>.</p>")
    }

    fn page(status: u16, body: &str) -> Self {
        let title = "Mailsluice sandbox";
        let page = format!("<!doctype html><meta charset=\"utf-8\"><title>{title}</title><h1>{title}</h1>{body}\n");
        Self::Page(status, page)
    }
}
