//! A disk that breaks on command, for a process of its own: `tests/peers/eio.c`.

use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;

/// What breaks.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Breaks {
    /// Syncing the log.
    Syncs,
    /// Writing the log too.
    WritesAndSyncs,
}

/// The shim, and the file that sets it off.
pub(crate) struct BreakableDisk {
    folder: TempDir,
}

impl BreakableDisk {
    pub(crate) fn new(breaks: Breaks) -> Self {
        let disk = Self { folder: tempfile::tempdir().unwrap() };
        let mut cc = Command::new("cc");
        cc.args(["-shared", "-fPIC", "-o"])
            .arg(disk.shim())
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/peers/eio.c"));
        match breaks {
            Breaks::Syncs => cc.arg("-DONLY_SYNC"),
            Breaks::WritesAndSyncs => &mut cc,
        };
        let built = cc.arg("-ldl").status().expect("a C compiler, as `cc`");
        assert!(built.success());
        disk
    }

    /// Lets a process run on it.
    pub(crate) fn under(&self, process: &mut Command) {
        process.env("LD_PRELOAD", self.shim()).env("EIO_TRIGGER", self.trigger());
    }

    pub(crate) fn break_now(&self) {
        std::fs::write(self.trigger(), "").unwrap();
    }

    fn shim(&self) -> PathBuf {
        self.folder.path().join("eio.so")
    }

    fn trigger(&self) -> PathBuf {
        self.folder.path().join("broken")
    }
}
