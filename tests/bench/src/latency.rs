//! How long a client waits for 250, measured by a client of our own: from before it writes the final dot until it has read
//! the reply. Each session is a thread that sends one message after the other over its connection.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::Result;
use crate::case::{CONNECTIONS, Record};
use crate::plan::Plan;
use crate::queued::milliseconds;
use crate::relay::{Candidate, Relay};
use crate::table::Row;

pub(crate) fn measure(plan: &Plan, candidate: &dyn Candidate, sessions: usize, record: &mut Record) -> Result<()> {
    let mut relay = Relay::listening(candidate, plan, CONNECTIONS)?;
    let to = relay.place().listen;
    // To wake the relay up.
    run(to, sessions, plan.stretch / 6)?;
    let mut waits = run(to, sessions, plan.stretch).map_err(|error| relay.trouble(&error.to_string()))?;
    waits.sort();
    let plural = if sessions == 1 { "" } else { "s" };
    for (percent, aim) in [(50, ""), (99, if sessions == 50 { "< 10" } else { "" })] {
        let wait = waits[(waits.len() * percent / 100).min(waits.len() - 1)];
        let name = format!("final dot to 250, p{percent}, 2 KB, {sessions} session{plural}, ms");
        record(Row::new(name, aim), milliseconds(wait));
    }
    relay.stop()
}

/// All sessions at once, for so long; what each message took.
fn run(to: SocketAddr, sessions: usize, stretch: Duration) -> Result<Vec<Duration>> {
    let until = Instant::now() + stretch;
    std::thread::scope(|scope| {
        let session = || converse(to, until).map_err(|error| error.to_string());
        let threads: Vec<_> = (0..sessions).map(|_| scope.spawn(session)).collect();
        let mut waits = Vec::new();
        for thread in threads {
            waits.extend(thread.join().map_err(|_| "a session panicked")??);
        }
        Ok(waits)
    })
}

fn converse(to: SocketAddr, until: Instant) -> Result<Vec<Duration>> {
    let stream = TcpStream::connect(to)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    let mut stream = BufReader::new(stream);
    expect(&mut stream, "220")?;
    let mut say = |text: &[u8], code: &str| {
        stream.get_mut().write_all(text)?;
        if code.is_empty() { Ok(()) } else { expect(&mut stream, code) }
    };
    say(b"EHLO client.bench.example\r\n", "250")?;
    let content = content();
    let mut waits = Vec::new();
    while waits.is_empty() || Instant::now() < until {
        say(b"MAIL FROM:<client@bench.example>\r\n", "250")?;
        say(b"RCPT TO:<sink@bench.example>\r\n", "250")?;
        say(b"DATA\r\n", "354")?;
        say(&content, "")?;
        let began = Instant::now();
        say(b".\r\n", "250")?;
        waits.push(began.elapsed());
    }
    say(b"QUIT\r\n", "221")?;
    Ok(waits)
}

/// Reads a reply that must have this code.
fn expect(stream: &mut BufReader<TcpStream>, code: &str) -> Result<()> {
    let mut line = String::new();
    loop {
        line.clear();
        stream.read_line(&mut line)?;
        if !line.starts_with(code) {
            return Err(format!("{line:?} in place of {code}").into());
        }
        if line.as_bytes().get(3) != Some(&b'-') {
            return Ok(());
        }
    }
}

/// 2 KB as smtp-source has them: a header, and lines of text.
fn content() -> Vec<u8> {
    let header = "From: <client@bench.example>\r\nTo: <sink@bench.example>\r\nDate: Mon, 2 Mar 2026 09:00:00 +0000\r\n\
        Message-Id: <1@client.bench.example>\r\nSubject: a message\r\n\r\n";
    let line = format!("{}\r\n", "X".repeat(78));
    let mut content = header.as_bytes().to_vec();
    for _ in 0..2048 / line.len() {
        content.extend_from_slice(line.as_bytes());
    }
    content
}
