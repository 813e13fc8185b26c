//! A scripted identity provider.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::config::{ClientProof, Grant, OAuth};
use crate::tokens::locked;

/// What it answers next.
#[derive(Clone, Debug)]
pub(super) struct Says {
    pub(super) status: u16,
    pub(super) head: &'static str,
    pub(super) body: String,
}

/// The parameters of a request.
pub(super) type Form = HashMap<String, String>;

pub(super) struct Provider {
    pub(super) url: String,
    answers: Arc<Mutex<VecDeque<Says>>>,
    heard: Arc<Mutex<Vec<Form>>>,
    count: watch::Receiver<usize>,
    /// While it is false, no answer goes out.
    pub(super) gate: watch::Sender<bool>,
}

impl Provider {
    pub(super) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/tenant/oauth2/v2.0", listener.local_addr().unwrap());
        let answers: Arc<Mutex<VecDeque<Says>>> = Arc::default();
        let heard: Arc<Mutex<Vec<Form>>> = Arc::default();
        let (gate, open) = watch::channel(true);
        let (counter, count) = watch::channel(0);
        let (script, record) = (Arc::clone(&answers), Arc::clone(&heard));
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (script, record, open, counter) = (script.clone(), record.clone(), open.clone(), counter.clone());
                tokio::spawn(serve(stream, script, record, open, counter));
            }
        });
        Self { url, answers, heard, count, gate }
    }

    /// Appends to what it answers; the last answer is given again and again.
    pub(super) fn says(&self, status: u16, body: &str) {
        self.says_with(status, "", body);
    }

    pub(super) fn says_with(&self, status: u16, head: &'static str, body: &str) {
        locked(&self.answers).push_back(Says { status, head, body: body.into() });
    }

    /// The requests so far.
    pub(super) fn heard(&self) -> Vec<Form> {
        locked(&self.heard).clone()
    }

    /// Waits until it has heard so many requests.
    pub(super) async fn hears(&self, requests: usize) {
        self.count.clone().wait_for(|count| *count >= requests).await.unwrap();
    }

    pub(super) fn oauth(&self, proof: ClientProof, grant: Grant) -> OAuth {
        OAuth {
            client_id: "app".into(),
            proof,
            grant,
            scope: "one two".into(),
            token_url: format!("{}/token", self.url),
            device_url: format!("{}/devicecode", self.url),
            expires: None,
        }
    }
}

async fn serve(
    stream: TcpStream,
    script: Arc<Mutex<VecDeque<Says>>>,
    record: Arc<Mutex<Vec<Form>>>,
    mut open: watch::Receiver<bool>,
    counter: watch::Sender<usize>,
) {
    let mut stream = BufReader::new(stream);
    loop {
        let (mut line, mut length) = (String::new(), 0);
        loop {
            line.clear();
            if stream.read_line(&mut line).await.unwrap_or(0) == 0 {
                return;
            }
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
            if line == "\r\n" {
                break;
            }
        }
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await.unwrap();
        let form = oauth2::url::form_urlencoded::parse(&body).into_owned().collect();
        locked(&record).push(form);
        counter.send_modify(|count| *count += 1);
        open.wait_for(|open| *open).await.unwrap();
        let Says { status, head, body } = {
            let mut script = locked(&script);
            if script.len() > 1 { script.pop_front().unwrap() } else { script.front().unwrap().clone() }
        };
        let length = body.len();
        let answer = format!("HTTP/1.1 {status} x\r\n{head}content-length: {length}\r\n\r\n{body}");
        stream.write_all(answer.as_bytes()).await.unwrap();
    }
}
