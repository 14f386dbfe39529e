//! What the commands that drive the running kernel have in common.

use std::path::PathBuf;

use clap::ValueEnum;
use mapcount_kernel::driven::{Driven, Watch};
use mapcount_kernel::subject::{Options, Trouble};
use mapcount_kernel::{Unavailable, observer, signals};

use super::Exit;
use super::input::{self, Source};

/// How to drive and look.
#[derive(Debug, clap::Args)]
pub(super) struct Live {
    /// How to look at struct page
    #[arg(long, value_name = "HOW", value_parser = choice, default_value = "auto")]
    observer: Observer,
    /// Whether the statistics of the whole system are looked at
    #[arg(long, value_name = "WHEN", value_enum, default_value_t = Statistics::Auto)]
    statistics: Statistics,
    /// A block device to swap to, whose content is lost [default: MAPCOUNT_SWAP, or a file behind a loop device]
    #[arg(long, value_name = "DEVICE")]
    swap: Option<PathBuf>,
    /// A folder on a disk for files of scenarios [default: that for temporary files]
    #[arg(long, value_name = "FOLDER")]
    scratch: Option<PathBuf>,
}

/// When the statistics are looked at.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum Statistics {
    /// If nobody else on this machine changes them
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

/// An observer of the command line.
#[derive(Clone, Debug)]
struct Observer(observer::Choice);

fn choice(name: &str) -> Result<Observer, String> {
    let names: Vec<&str> = observer::Choice::ALL.iter().map(|(name, _)| *name).collect();
    let found = observer::Choice::by_name(name).map(Observer);
    found.ok_or_else(|| format!("there is no such observer; there are {}", names.join(", ")))
}

impl Live {
    /// Takes the kernel over, and says on stderr what is missing. Ctrl-C ends it in order from here on. With
    /// it comes why the statistics are not looked at, if they are not.
    pub(super) fn open(&self) -> Result<(Driven, Option<String>), Exit> {
        signals::catch();
        let mut options = Options::default();
        if let Some(swap) = &self.swap {
            options.swap = Some(swap.clone());
        }
        if let Some(scratch) = &self.scratch {
            options.scratch.clone_from(scratch);
        }
        let mut driven = Driven::open(self.observer.0, &options).map_err(|missing| unavailable(&missing))?;
        if !driven.lacking().is_empty() {
            let observer = driven.observer();
            eprintln!(
                "mapcount: looking by {observer}, which does not see all counters; what sees more is missing:"
            );
            driven.lacking().iter().for_each(|(name, lacking)| eprintln!("mapcount: {name}: {lacking}"));
        }
        let watch = match self.statistics {
            Statistics::Auto => Watch::IfQuiet,
            Statistics::Always => Watch::Always,
            Statistics::Never => Watch::Never,
        };
        let watched = driven.watch_statistics(watch).map_err(|missing| unavailable(&missing))?;
        Ok((driven, watched.err()))
    }
}

/// Says what is missing.
pub(super) fn unavailable(missing: &Unavailable) -> Exit {
    if signals::interrupted() {
        return Exit::Interrupted;
    }
    eprintln!("mapcount: {missing}");
    Exit::Unavailable
}

/// Says why the kernel cannot be driven on; `source` is the scenario.
pub(super) fn trouble(trouble: &Trouble, source: Option<&Source>) -> Exit {
    match (trouble, source) {
        (Trouble::Scenario(diagnostic), Some(source)) => {
            eprintln!("{}", diagnostic.render(&source.path, &source.bytes, input::stderr_has_color()));
            Exit::Malformed
        }
        (Trouble::Unavailable(missing), _) => unavailable(missing),
        (other, _) => {
            eprintln!("mapcount: the kernel was lost: {other}");
            Exit::Unavailable
        }
    }
}
