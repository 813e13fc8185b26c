//! The destination `directory`, for staging: each message becomes a file, and a second one tells its envelope.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use super::trouble::local;
use crate::ids::MessageId;
use crate::schedule::attempt::{End, Obstacle, RcptResult, Step, Transcript, Trouble};
use crate::smtp::{EnhancedStatus, Envelope, Reply};
use crate::time::{Timestamp, wall_clock};

/// Writes the content to `<time>-<queue id>-<n>.eml` in the directory, whole or not at all, and the envelope beside it
/// to `.json` (`from`, null for the null path, and `to`). Names sort by time; `n` tells apart what goes out at the same
/// time. The final reply is our own; what the system refuses is
/// [`TroubleKind::Local`](crate::schedule::attempt::TroubleKind).
pub async fn deliver(directory: &Path, id: MessageId, envelope: &Envelope, content: &[u8]) -> Transcript {
    let (path, envelope, content) = (directory.to_owned(), envelope.clone(), content.to_vec());
    let recipients = envelope.recipients.len();
    let now = wall_clock();
    let written = tokio::task::spawn_blocking(move || write(&path, now, id, &envelope, &content)).await;
    let detail = match written {
        Ok(Ok(path)) => {
            let reply = Reply::with_status(250, EnhancedStatus::new(2, 0, 0), format!("written to {}", path.display()));
            return Transcript { recipients: vec![RcptResult::Accepted; recipients], end: End::Accepted(reply) };
        }
        Ok(Err(error)) => error.to_string(),
        Err(error) => error.to_string(),
    };
    let detail = format!("the message cannot be written to the directory {}: {detail}", directory.display());
    let end = End::Stopped(Obstacle::Trouble(local(Step::Content, detail)));
    Transcript { recipients: vec![RcptResult::NotAsked; recipients], end }
}

/// Whether files can be written to the directory: writes one, and removes it. Blocking.
pub(super) fn try_out(directory: &Path) -> Result<(), Trouble> {
    let path = directory.join(format!(".trial-{}.part", std::process::id()));
    let written = new(OpenOptions::new().create(true).truncate(true), &path)
        .and_then(|file| fill(file, b"trial"))
        .and_then(|()| fs::remove_file(&path));
    written.map_err(|error| {
        let detail = format!("nothing can be written to the directory {}: {error}", directory.display());
        local(Step::Content, detail)
    })
}

/// Blocking. The message appears last, when its envelope is there.
fn write(directory: &Path, now: Timestamp, id: MessageId, envelope: &Envelope, content: &[u8]) -> io::Result<PathBuf> {
    let time = now.to_string().replace(['-', ':'], "");
    let (staged, name) = stage(directory, &format!("{time}-{id}"))?;
    let told = serde_json::json!({ "from": envelope.reverse_path.address(), "to": envelope.recipients });
    let written = fill(staged, content)
        .and_then(|()| new(OpenOptions::new().create(true).truncate(true), directory.join(hidden(&name, "json"))))
        .and_then(|file| fill(file, format!("{told:#}\n").as_bytes()))
        .and_then(|()| rename(directory, &name, "json"))
        .and_then(|()| rename(directory, &name, "eml"))
        .and_then(|()| File::open(directory)?.sync_all());
    match written {
        Ok(()) => Ok(directory.join(format!("{name}.eml"))),
        Err(error) => {
            for extension in ["eml", "json"] {
                // The disk may be full; what remains is hidden and in nobody's way.
                let _ = fs::remove_file(directory.join(hidden(&name, extension)));
            }
            Err(error)
        }
    }
}

/// Makes a hidden file under the first free number. Who holds the hidden name may use the visible one.
fn stage(directory: &Path, stem: &str) -> io::Result<(File, String)> {
    for number in 0..NUMBERS {
        let name = format!("{stem}-{number}");
        let path = directory.join(hidden(&name, "eml"));
        match new(OpenOptions::new().create_new(true), &path) {
            Ok(file) if !directory.join(format!("{name}.eml")).exists() => return Ok((file, name)),
            Ok(_) => fs::remove_file(&path)?,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::Error::other(format!("all names {stem}-0 to {stem}-{NUMBERS} are taken")))
}

/// A file that its group may read: mail is nobody else's business.
fn new(options: &mut OpenOptions, path: impl AsRef<Path>) -> io::Result<File> {
    options.write(true).mode(0o640).open(path)
}

fn fill(mut file: File, content: &[u8]) -> io::Result<()> {
    file.write_all(content)?;
    file.sync_all()
}

fn rename(directory: &Path, name: &str, extension: &str) -> io::Result<()> {
    fs::rename(directory.join(hidden(name, extension)), directory.join(format!("{name}.{extension}")))
}

fn hidden(name: &str, extension: &str) -> String {
    format!(".{name}.{extension}.part")
}

/// More than can go out in a millisecond.
const NUMBERS: u32 = 1000;

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::schedule::attempt::TroubleKind;
    use crate::smtp::ReversePath;

    fn envelope() -> Envelope {
        let recipients = vec!["office@example.com".parse().unwrap(), "jürgen@example.com".parse().unwrap()];
        Envelope { reverse_path: ReversePath::Null, recipients }
    }

    fn names(directory: &Path) -> Vec<String> {
        let entries = fs::read_dir(directory).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[tokio::test]
    async fn content_is_written_as_it_is_and_the_envelope_beside_it() {
        let directory = tempfile::tempdir().unwrap();
        let content = b"Subject: x\r\n\r\n.\r\n\xff no end";
        let transcript = deliver(directory.path(), MessageId(7), &envelope(), content).await;
        let [message, told] = &names(directory.path())[..] else { panic!("{:?}", names(directory.path())) };
        let path = directory.path().join(message);
        assert_eq!(transcript.recipients, [RcptResult::Accepted, RcptResult::Accepted]);
        assert_eq!(transcript.end, End::Accepted(Reply::new(250, format!("2.0.0 written to {}", path.display()))));
        assert_eq!(fs::read(path).unwrap(), content);
        for name in [message, told] {
            let mode = fs::metadata(directory.path().join(name)).unwrap().permissions().mode();
            assert_eq!(mode & 0o137, 0, "{name} is of mode {mode:o}");
        }
        let told: serde_json::Value = serde_json::from_slice(&fs::read(directory.path().join(told)).unwrap()).unwrap();
        assert_eq!(told, serde_json::json!({ "from": null, "to": ["office@example.com", "jürgen@example.com"] }));
    }

    #[test]
    fn the_same_message_at_the_same_time_gets_another_name() {
        let directory = tempfile::tempdir().unwrap();
        let now = Timestamp::from_secs(1_795_362_588);
        for content in [b"one", b"two"] {
            write(directory.path(), now, MessageId(7), &envelope(), content).unwrap();
        }
        let names = names(directory.path());
        let wanted =
            [0, 1].map(|n| ["eml", "json"].map(|kind| format!("20261122T154948.000Z-{}-{n}.{kind}", MessageId(7))));
        assert_eq!(names, wanted.concat());
        assert_eq!(fs::read(directory.path().join(&names[0])).unwrap(), b"one");
    }

    #[test]
    fn trying_a_directory_leaves_nothing_there() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(try_out(directory.path()), Ok(()));
        assert_eq!(names(directory.path()), [""; 0]);
        assert!(try_out(&directory.path().join("missing")).unwrap_err().detail.contains("No such file"));
    }

    #[tokio::test]
    async fn a_missing_directory_is_our_own_trouble_and_says_which() {
        let directory = tempfile::tempdir().unwrap();
        let missing = directory.path().join("missing");
        let transcript = deliver(&missing, MessageId(7), &envelope(), b"x").await;
        assert_eq!(transcript.recipients, [RcptResult::NotAsked, RcptResult::NotAsked]);
        let End::Stopped(Obstacle::Trouble(Trouble { kind: TroubleKind::Local, detail, .. })) = transcript.end else {
            panic!("{transcript:?}")
        };
        assert!(detail.contains(missing.to_str().unwrap()) && detail.contains("No such file"), "{detail}");
    }
}
