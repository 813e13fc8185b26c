//! HTTP/1.1 on a loopback port: which address is which request.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, HOST, RETRY_AFTER};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use oauth2::url::form_urlencoded;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::Issuer;
use super::answer::Answer;
use super::grants::Request;

/// Connections at a time; further ones wait.
const CONNECTIONS: usize = 100;
/// The longest form.
const LONGEST: usize = 65_536;
/// How long a client may take for a request's header.
const PATIENCE: Duration = Duration::from_secs(30);

/// Serves until `stopped`; then closes the port and every connection.
pub(in crate::sandbox) async fn listen(listener: TcpListener, issuer: Arc<Issuer>, mut stopped: watch::Receiver<()>) {
    let mut connections = JoinSet::new();
    loop {
        let full = connections.len() >= CONNECTIONS;
        let stream = tokio::select! {
            // Only the end of the sender ever comes.
            _ = stopped.changed() => break,
            Some(_) = connections.join_next() => continue,
            accepted = listener.accept(), if !full => match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    // Most likely out of file descriptors: give the open connections time to end.
                    tracing::warn!(event = "sandbox_accept_failed", %error, "the sandbox cannot accept a connection");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            },
        };
        connections.spawn(serve(issuer.clone(), stream));
    }
    drop(listener);
    connections.shutdown().await;
}

async fn serve(issuer: Arc<Issuer>, stream: TcpStream) {
    let answer = |request| {
        let issuer = issuer.clone();
        async move { rendered(answer(&issuer, request).await) }
    };
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(PATIENCE);
    // A client that breaks the connection off, or a fault that does, is all that can go wrong.
    let _ = http.serve_connection(TokioIo::new(stream), service_fn(answer)).await;
}

async fn answer(issuer: &Issuer, request: hyper::Request<Incoming>) -> Answer {
    let (head, body) = request.into_parts();
    let path = head.uri.path().to_owned();
    let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
    let post = head.method == Method::POST;
    let (place, tenant) = match parts[..] {
        [tenant, "oauth2", "v2.0", "token"] if post => (Place::Token, Some(tenant.to_owned())),
        ["token"] if post => (Place::Token, None),
        [tenant, "oauth2", "v2.0", "devicecode"] if post => (Place::Device, Some(tenant.to_owned())),
        ["device", "code"] if post => (Place::Device, None),
        ["devicelogin"] if post => (Place::Page, None),
        ["devicelogin"] if head.method == Method::GET => return Answer::form(),
        _ => return Answer::not_found(),
    };
    let Ok(body) = Limited::new(body, LONGEST).collect().await else { return Answer::Cut };
    let form: std::collections::HashMap<_, _> = form_urlencoded::parse(&body.to_bytes()).into_owned().collect();
    if place == Place::Page {
        let code = form.get("user_code").map_or("", String::as_str);
        return if issuer.approve(code) { Answer::approved() } else { Answer::no_such_code() };
    }
    let text = |name| head.headers.get(name).and_then(|value: &hyper::header::HeaderValue| value.to_str().ok());
    let address = format!("http://{}{path}", text(HOST).unwrap_or_default());
    let request = Request { form, basic: text(AUTHORIZATION).and_then(basic), tenant, address };
    if place == Place::Token { issuer.token(request).await } else { issuer.device(&request) }
}

/// What is asked for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Token,
    Device,
    Page,
}

/// An application and its secret, each encoded as in a form before they are put together (RFC 6749 §2.3.1).
fn basic(header: &str) -> Option<(String, String)> {
    let (scheme, encoded) = header.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let pair = String::from_utf8(STANDARD.decode(encoded.trim()).ok()?).ok()?;
    let (client_id, secret) = pair.split_once(':')?;
    let plain = |text: &str| form_urlencoded::parse(text.as_bytes()).next().map(|(text, _)| text.into_owned());
    Some((plain(client_id)?, plain(secret).unwrap_or_default()))
}

/// The answer as HTTP has it; an error closes the connection.
fn rendered(answer: Answer) -> io::Result<Response<Full<Bytes>>> {
    let mut response = Response::builder().header(CACHE_CONTROL, "no-store");
    let body = match answer {
        Answer::Json(status, wait, body) => {
            response = response.status(status).header(CONTENT_TYPE, "application/json; charset=utf-8");
            if let Some(wait) = wait {
                response = response.header(RETRY_AFTER, wait.as_secs());
            }
            body.to_string()
        }
        Answer::Page(status, page) => {
            response = response.status(status).header(CONTENT_TYPE, "text/html; charset=utf-8");
            page
        }
        Answer::Cut => return Err(io::ErrorKind::ConnectionAborted.into()),
    };
    response.body(Full::new(Bytes::from(body))).map_err(io::Error::other)
}
