//! A server for webhooks: keeps what is posted, and answers as it is told to.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;

/// The path of its address, which is a secret.
pub(crate) const PATH: &str = "/services/T00/B00/hush-hush";

/// The server; it listens until the test ends.
pub(crate) struct Hook {
    address: SocketAddr,
    posts: Arc<(Mutex<Vec<Value>>, Condvar)>,
}

impl Hook {
    /// Starts it. It answers with these statuses one after the other, then with 200.
    pub(crate) fn start(statuses: &[u16]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let hook = Self { address: listener.local_addr().unwrap(), posts: Arc::default() };
        let (posts, mut statuses) = (Arc::clone(&hook.posts), VecDeque::from(statuses.to_vec()));
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let status = statuses.pop_front().unwrap_or(200);
                let post = serve(stream, status);
                posts.0.lock().unwrap().push(post);
                posts.1.notify_all();
            }
        });
        hook
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}{PATH}", self.address)
    }

    /// What was posted so far, of this kind.
    pub(crate) fn posts(&self, kind: &str) -> Vec<Value> {
        self.posts.0.lock().unwrap().iter().filter(|post| post["kind"] == kind).cloned().collect()
    }

    /// Waits until so many of this kind and state have been posted; fails the test where they are not in a minute.
    pub(crate) fn wait_for(&self, count: usize, kind: &str, state: &str) -> Vec<Value> {
        let deadline = Instant::now() + Duration::from_secs(60);
        let mut posts = self.posts.0.lock().unwrap();
        loop {
            let found: Vec<Value> =
                posts.iter().filter(|post| post["kind"] == kind && post["state"] == state).cloned().collect();
            if found.len() >= count {
                return found;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "{} of {count} {kind} {state} among {posts:?}", found.len());
            posts = self.posts.1.wait_timeout(posts, left).unwrap().0;
        }
    }
}

/// One request, one answer, and the end of the connection.
fn serve(stream: TcpStream, status: u16) -> Value {
    let mut reader = BufReader::new(stream);
    let (mut head, mut length) = (Vec::new(), 0);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        let line = line.trim_end().to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        if let Some(value) = line.strip_prefix("content-length: ") {
            length = value.parse().unwrap();
        }
        head.push(line);
    }
    assert_eq!(head[0], format!("post {} http/1.1", PATH.to_ascii_lowercase()));
    assert!(head.iter().any(|line| line == "content-type: application/json"), "{head:?}");
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    let mut stream = reader.into_inner();
    write!(stream, "HTTP/1.1 {status} x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").unwrap();
    serde_json::from_slice(&body).unwrap()
}
