//! The queue's folder: whether mail can be kept there, and is really on disk when it is said to be.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Finding, amount};
use crate::config::QueueConfig;
use crate::config::secret::quoted;
use crate::queue::sqlite::{Survey, damage_seen};
use crate::time::since_boot;
use crate::users::{Identity, user_name};

/// What the folder is like.
#[derive(Clone, Debug)]
pub struct Facts {
    /// What the queue's own code says of it.
    pub survey: Survey,
    /// Owner, group and mode of the folder; none where it is not there.
    pub folder: Option<(u32, u32, u32)>,
    /// The owner of the database; none where there is none yet.
    pub database_owner: Option<u32>,
    /// What is wrong with the database, where no process has it.
    pub damage: Option<String>,
    /// How long it takes until 4 KiB are on disk, the median of some tries; none where nothing could be tried. An error
    /// names what was in the way.
    pub durable_in: Option<Result<Duration, String>>,
}

impl Facts {
    /// Looks. Where this user may write as the daemon does, it writes a file beside the database and removes it.
    /// Blocking.
    pub fn gather(database: &Path, daemon: &Identity) -> Self {
        let survey = Survey::of(database);
        let folder = survey.folder.metadata().ok().map(|metadata| (metadata.uid(), metadata.gid(), metadata.mode()));
        let own = Identity::own();
        let tries = folder.is_some() && (own.is_root() || own.user == daemon.user);
        let durable_in = tries.then(|| time_of_sync(&survey.folder).map_err(|error| error.to_string()));
        let database_owner = database.metadata().ok().map(|metadata| metadata.uid());
        Self { survey, folder, database_owner, damage: damage_seen(database), durable_in }
    }
}

/// What to make of it. `daemon` is the user that the daemon runs as.
pub fn judge(facts: &Facts, settings: &QueueConfig, daemon: &Identity) -> Vec<Finding> {
    let shown = facts.survey.folder.display();
    let Some((owner, group, mode)) = facts.folder else {
        return vec![Finding::warning(
            CHECK,
            format!("the folder {shown} is not there yet"),
            format!(
                "the daemon makes it where it may; else: sudo install -d -o {user} -g {user} -m 700 {folder}",
                user = daemon.name,
                folder = quoted(&facts.survey.folder)
            ),
        )];
    };
    let mut findings = vec![kind(facts, settings), writable(facts, daemon, (owner, group, mode))];
    findings.extend(database(facts, settings, daemon));
    findings.extend(facts.damage.as_ref().map(|what| damaged(what, settings)));
    findings.extend(facts.durable_in.as_ref().map(|tried| durable(tried, &facts.survey.folder)));
    findings.extend(facts.survey.free.map(|free| room(free, settings, &facts.survey.folder)));
    findings
}

fn kind(facts: &Facts, settings: &QueueConfig) -> Finding {
    let shown = facts.survey.folder.display();
    match facts.survey.forgetful {
        None => Finding::ok(CHECK, format!("{shown} is on a file system that keeps what it is given")),
        Some(kind) if settings.ephemeral => Finding::warning(
            CHECK,
            format!("{shown} is on {kind}, which queue.ephemeral allows: mail is lost when that is"),
            "put queue.path on a local disk, unless this is a trial",
        ),
        Some(kind) => Finding::failed(
            CHECK,
            format!("{shown} is on {kind}: mail would be lost, so the daemon does not start"),
            "put queue.path on a local disk (in a container: a volume)",
        ),
    }
}

fn writable(facts: &Facts, daemon: &Identity, (owner, group, mode): (u32, u32, u32)) -> Finding {
    let folder = &facts.survey.folder;
    let shown = folder.display();
    if let Some(bars) = daemon.barred_at(folder) {
        return Finding::failed(
            CHECK,
            format!("the daemon's user {} cannot reach {shown}: {} keeps it out", daemon.name, bars.display()),
            format!("sudo chmod o+x {}", quoted(&bars)),
        );
    }
    if daemon.may(3, owner, group, mode) {
        return Finding::ok(CHECK, format!("{shown} can be written by the daemon's user {}", daemon.name));
    }
    Finding::failed(
        CHECK,
        format!(
            "{shown} belongs to {} with mode {:04o}: the daemon's user {} cannot write there",
            user_name(owner),
            mode & 0o7777,
            daemon.name
        ),
        format!("sudo chown -R {}: {}", daemon.name, quoted(folder)),
    )
}

fn database(facts: &Facts, settings: &QueueConfig, daemon: &Identity) -> Option<Finding> {
    let owner = facts.database_owner.filter(|owner| *owner != daemon.user)?;
    Some(Finding::failed(
        CHECK,
        format!(
            "{} belongs to {}, so the daemon's user {} does not open it",
            settings.path.display(),
            user_name(owner),
            daemon.name
        ),
        format!("sudo chown -R {}: {}", daemon.name, quoted(&facts.survey.folder)),
    ))
}

fn damaged(what: &str, settings: &QueueConfig) -> Finding {
    Finding::failed(
        CHECK,
        format!("{} is damaged: {what}", settings.path.display()),
        "sudo systemctl stop mailsluice && sudo mailsluice queue recover; that makes a new queue of what can be read, and keeps \
         the damaged one",
    )
}

fn durable(tried: &Result<Duration, String>, folder: &Path) -> Finding {
    let shown = folder.display();
    match tried {
        Err(error) => Finding::failed(
            CHECK,
            format!("nothing can be written to {shown}: {error}"),
            "mend what the system complains of: no mail can be taken in",
        ),
        Ok(took) if *took < TOO_GOOD => Finding::warning(
            CHECK,
            format!(
                "4 KiB are said to be on disk after {}, which no disk does: a write cache answers, and what it holds may be \
                 lost with the power",
                milliseconds(*took)
            ),
            "use a disk whose cache survives a power cut, or switch the cache off (`hdparm -W0`, the settings of the virtual machine)",
        ),
        Ok(took) if *took > SLOW => Finding::warning(
            CHECK,
            format!("{} pass until 4 KiB are on disk: each client waits as long for its 250", milliseconds(*took)),
            "put queue.path on a faster disk, if clients complain",
        ),
        Ok(took) => Finding::ok(CHECK, format!("4 KiB are on disk after {} (fdatasync)", milliseconds(*took))),
    }
}

fn room(free: u64, settings: &QueueConfig, folder: &Path) -> Finding {
    let QueueConfig { min_free, max_bytes, .. } = settings;
    let shown = folder.display();
    let (has, least, most) = (amount(free), amount(*min_free), amount(*max_bytes));
    if free < *min_free {
        return Finding::failed(
            DISK,
            format!("{has} are free at {shown}, less than min_free ({least}): clients are refused with 452"),
            "make room, or lower queue.min_free",
        );
    }
    if free < min_free.saturating_add(*max_bytes) {
        return Finding::warning(
            DISK,
            format!("{has} are free at {shown}: with min_free ({least}) kept, max_bytes ({most}) of mail do not fit"),
            "make room, if a long outage of the provider shall fill no disk",
        );
    }
    Finding::ok(DISK, format!("{has} are free at {shown}; {least} are kept free, mail may fill {most}"))
}

fn milliseconds(span: Duration) -> String {
    format!("{:.2} ms", span.as_secs_f64() * 1e3)
}

/// The median of how long it takes until 4 KiB that were appended to a file are on disk.
fn time_of_sync(folder: &Path) -> io::Result<Duration> {
    let probe = Probe::new(folder)?;
    let mut times = Vec::new();
    for _ in 0..TRIES {
        let began = since_boot();
        (&probe.file).write_all(&[0x5a; 4096])?;
        probe.file.sync_data()?;
        times.push(since_boot().saturating_sub(began));
    }
    times.sort_unstable();
    Ok(times[times.len() / 2])
}

/// A file that goes with the value.
struct Probe {
    path: PathBuf,
    file: File,
}

impl Probe {
    fn new(folder: &Path) -> io::Result<Self> {
        let path = folder.join(format!(".doctor-{}", std::process::id()));
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        Ok(Self { path, file })
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

const CHECK: &str = "queue";
const DISK: &str = "disk";
const TRIES: usize = 15;
/// The fastest disks without a volatile cache take some tens of microseconds.
const TOO_GOOD: Duration = Duration::from_micros(50);
const SLOW: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use super::super::Standing;
    use super::*;

    fn facts() -> Facts {
        let survey =
            Survey { folder: "/var/lib/mailsluice".into(), forgetful: None, free: Some(100 << 30), process: None };
        let durable_in = Some(Ok(Duration::from_millis(2)));
        Facts { survey, folder: Some((998, 998, 0o700)), database_owner: Some(998), damage: None, durable_in }
    }

    fn daemon() -> Identity {
        Identity { name: "mailsluice".into(), user: 998, groups: vec![998] }
    }

    /// The findings that are not fine.
    fn complaints(facts: &Facts, settings: &QueueConfig) -> Vec<(Standing, String)> {
        let findings = judge(facts, settings, &daemon()).into_iter();
        findings.filter(|one| one.standing != Standing::Ok).map(|one| (one.standing, one.seen)).collect()
    }

    fn one(facts: &Facts, settings: &QueueConfig) -> (Standing, String) {
        let [one] = &complaints(facts, settings)[..] else { panic!("{:?}", complaints(facts, settings)) };
        one.clone()
    }

    #[test]
    fn a_sound_place_is_fine() {
        assert_eq!(complaints(&facts(), &QueueConfig::default()), []);
        assert_eq!(judge(&facts(), &QueueConfig::default(), &daemon()).len(), 4);
    }

    #[test]
    fn a_place_that_forgets_is_a_failure_unless_allowed() {
        let survey = Survey { forgetful: Some("tmpfs (memory)"), ..facts().survey };
        let facts = Facts { survey, ..facts() };
        assert_eq!(one(&facts, &QueueConfig::default()).0, Standing::Failed);
        let allowed = QueueConfig { ephemeral: true, ..QueueConfig::default() };
        assert_eq!(one(&facts, &allowed).0, Standing::Warning);
    }

    #[test]
    fn the_time_until_it_is_on_disk_tells_a_cache_and_a_slow_disk() {
        for (micros, wanted) in [(49, "a write cache answers"), (100_001, "each client waits")] {
            let facts = Facts { durable_in: Some(Ok(Duration::from_micros(micros))), ..facts() };
            let (standing, seen) = one(&facts, &QueueConfig::default());
            assert!(standing == Standing::Warning && seen.contains(wanted), "{seen}");
        }
        let facts = Facts { durable_in: Some(Err("Read-only file system".into())), ..facts() };
        let (standing, seen) = one(&facts, &QueueConfig::default());
        assert!(standing == Standing::Failed && seen.contains("Read-only"), "{seen}");
    }

    #[test]
    fn room_is_held_against_the_limits() {
        for (free, wanted) in [(255 << 20, Standing::Failed), (1 << 30, Standing::Warning)] {
            let survey = Survey { free: Some(free), ..facts().survey };
            assert_eq!(one(&Facts { survey, ..facts() }, &QueueConfig::default()).0, wanted);
        }
    }

    #[test]
    fn what_belongs_to_somebody_else_is_named_with_the_command_that_mends_it() {
        let foreign = Facts { folder: Some((0, 0, 0o700)), database_owner: Some(0), ..facts() };
        let findings = judge(&foreign, &QueueConfig::default(), &daemon());
        let failed: Vec<_> = findings.iter().filter(|one| one.standing == Standing::Failed).collect();
        assert_eq!(failed.len(), 2, "{findings:?}");
        assert!(failed.iter().all(|one| one.advice.as_deref().unwrap().starts_with("sudo chown -R mailsluice: /var")));
        let missing = Facts { folder: None, durable_in: None, ..facts() };
        assert!(one(&missing, &QueueConfig::default()).1.contains("not there yet"));
    }

    #[test]
    fn a_probe_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        assert!(time_of_sync(folder.path()).unwrap() > Duration::ZERO);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
