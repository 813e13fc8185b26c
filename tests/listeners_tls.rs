//! Listeners with TLS, against clients that speak it and some that do not. The relay runs as a process.

use std::io::{Read, Write};
use std::net::TcpStream as BlockingStream;
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::listeners::with_listeners;
use crate::support::daemon::{Daemon, Site};
use crate::support::relay::run;
use crate::support::tls::{connect, make_certificate, shake};

fn listener(mode: &str) -> String {
    format!(
        "[[listener]]\naddress = \"127.0.0.1:0\"\nhostname = \"relay.example\"\n\
         tls = {{ certificate = \"relay.pem\", key = {{ file = \"relay.key\" }}, mode = \"{mode}\" }}\n"
    )
}

/// A site with a listener of this mode, and its certificate.
fn site(mode: &str) -> (Site, String) {
    let site = Site::new("", "");
    let pem = make_certificate(site.path());
    site.configure(&with_listeners(&listener(mode)));
    (site, pem)
}

async fn line(stream: &mut (impl AsyncBufReadExt + Unpin)) -> String {
    let mut line = String::new();
    let read = timeout(Duration::from_secs(30), stream.read_line(&mut line)).await;
    read.expect("a line within 30 s").unwrap();
    line
}

/// Says it, and hears one line.
async fn ask<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut BufReader<S>, command: &str) -> String {
    stream.get_mut().write_all(format!("{command}\r\n").as_bytes()).await.unwrap();
    line(stream).await
}

fn is_refused_at_tls(line: &Value) -> bool {
    line["event"] == "refused" && line["step"] == "starttls"
}

/// Sends one message with smtplib, which verifies the certificate.
fn smtplib(daemon: &Daemon, site: &Site, script: &str) {
    let mut python = Command::new("python3");
    let address = daemon.address();
    python.args(["-c", &format!("import smtplib, ssl, sys\nhost, port = sys.argv[1], int(sys.argv[2])\n{script}")]);
    python.args([&address.ip().to_string(), &address.port().to_string()]).arg(site.path().join("relay.pem"));
    run("python3", python, b"");
}

#[test]
fn a_client_that_begins_with_tls_is_served() {
    let (site, _) = site("implicit");
    let daemon = site.serve();
    smtplib(
        &daemon,
        &site,
        "context = ssl.create_default_context(cafile=sys.argv[3])\n\
         with smtplib.SMTP_SSL(host, port, context=context, timeout=60) as smtp:\n\
         \x20   smtp.ehlo()\n\
         \x20   assert not smtp.has_extn('starttls')\n\
         \x20   smtp.sendmail('a@shop.example', ['b@example.org'], 'Subject: x\\r\\n\\r\\ny\\r\\n')\n",
    );
    daemon.wait_for("accepted", |line| line["event"] == "accepted");
    assert_eq!(daemon.events("refused"), [Value::Null; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_speaks_plain_text_to_a_port_with_tls_is_let_go_and_told_of_a_little() {
    let (site, pem) = site("implicit");
    let daemon = site.serve();
    // Who tries the port and goes is no news, nor who leaves an encrypted session without a word.
    for _ in 0..20 {
        drop(BlockingStream::connect(daemon.address()).unwrap());
        assert!(line(&mut connect(daemon.address(), &pem).await.unwrap()).await.starts_with("220 "));
    }
    assert_eq!(daemon.events("refused"), [Value::Null; 0]);
    for said in ["EHLO x\r\n", "GET / HTTP/1.1\r\nHost: relay\r\n\r\n", "\0\0\0\0\0\0\0\0"].repeat(4) {
        let mut stream = BlockingStream::connect(daemon.address()).unwrap();
        stream.write_all(said.as_bytes()).unwrap();
        let mut heard = Vec::new();
        // Closed, not reset: whatever it said has been read.
        stream.read_to_end(&mut heard).unwrap();
        assert!(heard.first() == Some(&21) || heard.is_empty(), "an alert or nothing: {heard:?}");
    }
    let refused = daemon.wait_for("refused", is_refused_at_tls);
    let reply = refused["reply"].as_str().unwrap();
    assert!(reply.contains("is no TLS") && reply.contains("SSL/TLS"), "{reply}");
    assert!(line(&mut connect(daemon.address(), &pem).await.unwrap()).await.starts_with("220 "));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_does_not_trust_the_certificate_is_told_of_with_what_to_do() {
    let (site, pem) = site("implicit");
    let daemon = site.serve();
    let other = Site::new("", "");
    assert!(connect(daemon.address(), &make_certificate(other.path())).await.is_err());
    let refused = daemon.wait_for("refused", is_refused_at_tls);
    assert!(refused["reply"].as_str().unwrap().contains("does not trust the certificate"), "{refused}");
    assert!(connect(daemon.address(), &pem).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renewed_certificate_counts_after_a_reload_and_no_session_is_dropped() {
    let (site, old) = site("implicit");
    let daemon = site.serve();
    let mut session = connect(daemon.address(), &old).await.unwrap();
    assert!(line(&mut session).await.starts_with("220 "));
    assert!(ask(&mut session, "MAIL FROM:<a@shop.example>").await.starts_with("250 "));

    let new = make_certificate(site.path());
    // On disk alone it means nothing.
    assert!(connect(daemon.address(), &old).await.is_ok());
    daemon.signal(Signal::HUP);
    daemon.wait_for("reloaded", |line| line["event"] == "reloaded");
    assert!(connect(daemon.address(), &old).await.is_err());
    assert!(line(&mut connect(daemon.address(), &new).await.unwrap()).await.starts_with("220 "));

    // A broken one leaves what runs.
    make_certificate(other_folder(&site).as_path());
    std::fs::copy(site.path().join("other/relay.key"), site.path().join("relay.key")).unwrap();
    daemon.signal(Signal::HUP);
    let bad = |line: &Value| line["event"] == "alarm" && line["kind"] == "bad_configuration";
    let alarm = daemon.wait_for("alarm", bad);
    let sentence = alarm["message"].as_str().unwrap();
    assert!(sentence.contains("does not belong to the certificate in "), "{sentence}");
    assert!(sentence.contains("relay.key") && sentence.contains("relay.pem"), "{sentence}");
    assert!(connect(daemon.address(), &new).await.is_ok());

    assert!(ask(&mut session, "RCPT TO:<b@example.org>").await.starts_with("250 "));
    assert!(ask(&mut session, "DATA").await.starts_with("354 "));
    assert!(ask(&mut session, "Subject: x\r\n\r\ny\r\n.").await.starts_with("250 2.0.0 Ok: queued as "));
    daemon.wait_for("accepted", |line| line["event"] == "accepted");
}

/// A session in plain text that was greeted and has said EHLO, and what was offered.
async fn greeted(daemon: &Daemon) -> (BufReader<TcpStream>, String) {
    let mut stream = BufReader::new(TcpStream::connect(daemon.address()).await.unwrap());
    assert!(line(&mut stream).await.starts_with("220 "));
    stream.get_mut().write_all(b"EHLO x\r\n").await.unwrap();
    let mut offered = String::new();
    while offered.lines().last().is_none_or(|last| last.as_bytes()[3] == b'-') {
        offered += &line(&mut stream).await;
    }
    (stream, offered)
}

#[test]
fn starttls_is_spoken_by_real_clients() {
    let (site, _) = site("starttls");
    let daemon = site.serve();
    smtplib(
        &daemon,
        &site,
        "context = ssl.create_default_context(cafile=sys.argv[3])\n\
         with smtplib.SMTP(host, port, timeout=60) as smtp:\n\
         \x20   smtp.starttls(context=context)\n\
         \x20   smtp.ehlo()\n\
         \x20   assert not smtp.has_extn('starttls')\n\
         \x20   smtp.sendmail('a@shop.example', ['b@example.org'], 'Subject: x\\r\\n\\r\\ny\\r\\n')\n",
    );
    let address = daemon.address().to_string();
    for version in ["-tls1_2", "-tls1_3"] {
        let mut openssl = Command::new("openssl");
        openssl.args(["s_client", "-starttls", "smtp", "-connect", &address, "-quiet", "-crlf", version]);
        openssl.args(["-verify_return_error", "-CAfile"]).arg(site.path().join("relay.pem"));
        let talk = "MAIL FROM:<a@shop.example>\nRCPT TO:<b@example.org>\nDATA\nSubject: x\n\ny\n.\nQUIT\n";
        let output = run("openssl", openssl, talk.as_bytes());
        let heard = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(heard.contains("250 2.0.0 Ok: queued as "), "{version}: {heard}");
    }
    daemon.wait_for_count("accepted", 3, |line| line["event"] == "accepted");
    assert_eq!(daemon.events("refused"), [Value::Null; 0]);
}

/// CVE-2011-0411: what an attacker puts behind STARTTLS must not be taken for what the client says through TLS.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_injected_behind_starttls_is_neither_answered_nor_obeyed() {
    let (site, pem) = site("starttls");
    let daemon = site.serve();
    let begun = "MAIL FROM:<evil@example.net>\r\nRCPT TO:<victim@example.org>\r\n";
    // The long one is more than the session is given at a time.
    let long = format!("{}{begun}", "NOOP\r\n".repeat(400));
    for injected in ["RSET\r\n", "MAIL FR", begun, &long] {
        let (mut stream, offered) = greeted(&daemon).await;
        assert!(offered.contains("STARTTLS"), "{offered}");
        // In one write, so that it is read together.
        stream.get_mut().write_all(format!("STARTTLS\r\n{injected}").as_bytes()).await.unwrap();
        assert!(line(&mut stream).await.starts_with("220 "));
        assert!(stream.buffer().is_empty());
        let mut secured = shake(stream.into_inner(), &pem).await.unwrap();
        let reply = ask(&mut secured, "RCPT TO:<b@example.org>").await;
        assert!(reply.starts_with("503 "), "no transaction was begun: {reply}");
        assert!(ask(&mut secured, "NOOP").await.starts_with("250 "));
    }
    assert!(daemon.events("accepted").is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handshake_that_fails_behind_starttls_is_told_of_with_what_to_do() {
    let (site, _) = site("starttls");
    let daemon = site.serve();
    // What comes in a packet of its own is where the handshake should be.
    let (mut stream, _) = greeted(&daemon).await;
    assert!(ask(&mut stream, "STARTTLS").await.starts_with("220 "));
    stream.get_mut().write_all(b"MAIL FROM:<a@shop.example>\r\n").await.unwrap();
    let mut rest = Vec::new();
    tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut rest).await.unwrap();
    assert!(rest.first() == Some(&21) || rest.is_empty(), "an alert or nothing: {rest:?}");
    let refused = daemon.wait_for("refused", is_refused_at_tls);
    let reply = refused["reply"].as_str().unwrap();
    assert!(reply.contains("is no TLS") && reply.contains("hide = \"STARTTLS\""), "{reply}");

    // The client can be helped without touching it.
    let client = "[[client]]\nname = \"old\"\nnetworks = \"127.0.0.0/8\"\nhide = \"STARTTLS\"\n";
    site.configure(&with_listeners(&format!("{}{client}", listener("starttls"))));
    daemon.signal(Signal::HUP);
    daemon.wait_for("reloaded", |line| line["event"] == "reloaded");
    let (_, offered) = greeted(&daemon).await;
    assert!(!offered.contains("STARTTLS"), "{offered}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_with_old_tls_is_told_of_as_such() {
    let (site, _) = site("starttls");
    let daemon = site.serve();
    let (mut stream, _) = greeted(&daemon).await;
    assert!(ask(&mut stream, "STARTTLS").await.starts_with("220 "));
    // A ClientHello of TLS 1.0 (RFC 2246 §7.4.1.2) with one cipher suite and no extensions.
    let mut hello = b"\x16\x03\x01\x00\x2d\x01\x00\x00\x29\x03\x01".to_vec();
    hello.extend([7; 32]);
    hello.extend(b"\x00\x00\x02\x00\x2f\x01\x00");
    stream.get_mut().write_all(&hello).await.unwrap();
    let refused = daemon.wait_for("refused", is_refused_at_tls);
    let reply = refused["reply"].as_str().unwrap();
    assert!(reply.contains("old versions of TLS") && reply.contains("hide = \"STARTTLS\""), "{reply}");
}

fn other_folder(site: &Site) -> std::path::PathBuf {
    let folder = site.path().join("other");
    std::fs::create_dir(&folder).unwrap();
    folder
}

#[test]
fn doctor_looks_at_the_certificate_of_a_listener() {
    let (site, _) = site("starttls");
    let output = site.run(&["doctor", "--json"]);
    let found: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
    let fits = |one: &Value| one["check"] == "certificate" && one["seen"].as_str().unwrap().ends_with("fits its key");
    assert!(found.iter().any(fits), "{found:#?}");
}

#[test]
fn a_key_that_does_not_fit_is_refused_by_check_and_serve() {
    let (site, _) = site("starttls");
    assert!(site.run(&["check"]).status.success());
    make_certificate(&other_folder(&site));
    std::fs::copy(site.path().join("other/relay.pem"), site.path().join("relay.pem")).unwrap();
    for command in ["check", "serve"] {
        let output = site.run(&[command]);
        assert_eq!(output.status.code(), Some(78));
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(told.contains("listener.tls.key: found in file ") && told.contains("relay.key a key that"), "{told}");
        assert!(told.contains("relay.pem, wanted the key that the certificate was requested with"), "{told}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_switches_tls_on_where_a_listener_runs() {
    let (site, pem) = site("implicit");
    site.configure(&with_listeners("[[listener]]\naddress = \"127.0.0.1:0\"\n"));
    let daemon = site.serve();
    let mut plain = BufReader::new(TcpStream::connect(daemon.address()).await.unwrap());
    assert!(line(&mut plain).await.starts_with("220 "));
    site.configure(&with_listeners(&listener("implicit")));
    daemon.signal(Signal::HUP);
    daemon.wait_for("reloaded", |line| line["event"] == "reloaded");
    assert!(line(&mut connect(daemon.address(), &pem).await.unwrap()).await.starts_with("220 relay.example "));
    assert!(ask(&mut plain, "NOOP").await.starts_with("250 "));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_does_not_wait_for_a_handshake() {
    let (site, _) = site("starttls");
    let daemon = site.serve();
    let (mut silent, _) = greeted(&daemon).await;
    assert!(ask(&mut silent, "STARTTLS").await.starts_with("220 "));
    stops_at_once(daemon);

    let (site, pem) = self::site("implicit");
    let daemon = site.serve();
    let mut silent = BlockingStream::connect(daemon.address()).unwrap();
    silent.write_all(b"\x16\x03\x01").unwrap();
    // Connections are taken in their order.
    assert!(line(&mut connect(daemon.address(), &pem).await.unwrap()).await.starts_with("220 "));
    stops_at_once(daemon);
}

fn stops_at_once(daemon: Daemon) {
    let begun = Instant::now();
    assert_eq!(daemon.stop(), 0);
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(15), "the grace is for messages: {took:?}");
}
