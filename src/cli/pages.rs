//! `mailsluice completions` and the hidden `mailsluice generate`: manual pages and completions, made from the command line
//! itself, so that they cannot say anything else.

use std::fs;
use std::path::{Path, PathBuf};

use clap::CommandFactory as _;
use clap_complete::Shell;

use super::{Arguments, Failure};

#[derive(Debug, clap::Args)]
pub(super) struct Completions {
    /// The shell that is to complete
    #[arg(value_enum)]
    shell: Shell,
}

impl Completions {
    pub(super) fn run(self) -> Result<(), Failure> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut typed_by_people(), NAME, &mut script);
        super::output::line(String::from_utf8_lossy(&script).trim_end())
    }
}

#[derive(Debug, clap::Args)]
pub(super) struct Generate {
    /// The folder to write them into: `man` and `completions` are made in it
    folder: PathBuf,
}

impl Generate {
    pub(super) fn run(self) -> Result<(), Failure> {
        self.write().map_err(|error| Failure::Said(format!("{}: {error}", self.folder.display())))
    }

    fn write(&self) -> std::io::Result<()> {
        let man = self.folder.join("man");
        fs::create_dir_all(&man)?;
        let mut command = Arguments::command().disable_help_subcommand(true);
        command.build();
        write_pages(&command, &man)?;
        fs::write(man.join("mailsluice.toml.5"), configuration_page())?;
        let completions = self.folder.join("completions");
        fs::create_dir_all(&completions)?;
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            clap_complete::generate_to(shell, &mut typed_by_people(), NAME, &completions)?;
        }
        Ok(())
    }
}

/// The command line without what is hidden, which clap's completions would show all the same.
fn typed_by_people() -> clap::Command {
    let all = Arguments::command();
    clap::Command::new(NAME)
        .version(env!("CARGO_PKG_VERSION"))
        .args(all.get_arguments().cloned())
        .subcommands(all.get_subcommands().filter(|below| !below.is_hide_set()).cloned())
}

/// A page for each command that people type.
fn write_pages(command: &clap::Command, folder: &Path) -> std::io::Result<()> {
    for below in command.get_subcommands().filter(|below| !below.is_hide_set()) {
        write_pages(below, folder)?;
    }
    let page = clap_mangen::Man::new(command.clone()).source(SOURCE).manual(MANUAL);
    page.generate_to(folder).map(|_| ())
}

/// What every key of the configuration does: `config/reference.toml` as it stands, under a heading for each table.
fn configuration_page() -> String {
    let mut page = format!(
        ".\\\" Made from config/reference.toml by `mailsluice generate`.\n\
         .TH MAILSLUICE.TOML 5 \"\" \"{SOURCE}\" \"{MANUAL}\"\n\
         .SH NAME\n\
         mailsluice.toml \\- the configuration of mailsluice(1)\n\
         .SH SYNOPSIS\n\
         /etc/mailsluice/config.toml\n\
         .SH DESCRIPTION\n"
    );
    page.push_str(".nf\n");
    for line in REFERENCE.lines() {
        page.push_str(&as_roff(line));
        page.push('\n');
    }
    page.push_str(".fi\n.SH SEE ALSO\n.BR mailsluice (1),\n.BR mailsluice-setup (1),\n.BR mailsluice-check (1)\n");
    page
}

/// The line as it stands: roff reads a backslash, and a dot or an apostrophe at its start, and breaks hyphens.
fn as_roff(line: &str) -> String {
    let escaped = line.replace('\\', "\\e").replace('-', "\\-");
    if escaped.starts_with(['.', '\'']) { format!("\\&{escaped}") } else { escaped }
}

const NAME: &str = "mailsluice";
const MANUAL: &str = "Mailsluice";
const SOURCE: &str = concat!("mailsluice ", env!("CARGO_PKG_VERSION"));
const REFERENCE: &str = include_str!("../../config/reference.toml");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_command_has_a_page_and_each_shell_its_completions() {
        let folder = tempfile::tempdir().unwrap();
        Generate { folder: folder.path().to_owned() }.write().unwrap();
        let mut wanted = Vec::new();
        let mut command = Arguments::command().disable_help_subcommand(true);
        command.build();
        names(&command, &mut wanted);
        assert!(wanted.len() > 20, "{wanted:?}");
        for name in wanted {
            let page = fs::read_to_string(folder.path().join(format!("man/{name}.1"))).unwrap();
            // What lexgrog(1) and apropos(1) read.
            assert!(page.contains(".SH NAME\nmailsluice"), "{name}: {page}");
        }
        for file in ["mailsluice.bash", "_mailsluice", "mailsluice.fish"] {
            let script = fs::read_to_string(folder.path().join("completions").join(file)).unwrap();
            for offered in ["queue", "resume", "config", "version"] {
                assert!(script.contains(offered), "{file}: {offered}");
            }
            assert!(!script.contains("generate"), "{file} offers what is hidden");
        }
    }

    #[test]
    fn the_configuration_s_page_has_every_line_and_roff_takes_none_for_its_own() {
        let page = configuration_page();
        assert!(
            page.contains("\n[[listener]]\n") && page.contains("path = \"/var/lib/mailsluice/queue.db\""),
            "{page}"
        );
        assert_eq!(as_roff(".x 'y' a-b\\c"), "\\&.x 'y' a\\-b\\ec");
        assert_eq!(as_roff("'tis"), "\\&'tis");
    }

    fn names(command: &clap::Command, found: &mut Vec<String>) {
        found.push(command.get_display_name().unwrap_or(command.get_name()).to_owned());
        for below in command.get_subcommands().filter(|below| !below.is_hide_set()) {
            names(below, found);
        }
    }
}
