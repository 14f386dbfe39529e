//! `mapcount record`.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use mapcount_kernel::signals;
use mapcount_script::trace::write_line;

use super::{Exit, input, live};

/// Run a scenario on the running kernel, and print what it left in struct page after each step
///
/// Needs root. Settings of the kernel that this changes are restored, whatever happens.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The scenario; `-` is standard input
    file: String,
    /// Where to write the recording, all of it or nothing [default: standard output]
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    live: live::Live,
}

pub(super) fn main(args: &Args) -> Exit {
    match record(args) {
        Ok(()) => Exit::Success,
        Err(exit) => exit,
    }
}

fn record(args: &Args) -> Result<(), Exit> {
    let source = input::scenario(&args.file)?;
    let (mut driven, unwatched) = args.live.open()?;
    if let Some(why) = unwatched {
        eprintln!("mapcount: the statistics of the system are not recorded: {why}");
    }
    let recorded = driven.record(&source.scenario, &source.name);
    let (retries, unsettled) = driven.unrest();
    // Settings are restored before anything is written.
    drop(driven);
    let recorded = recorded.map_err(|trouble| live::trouble(&trouble, Some(&source)))?;
    if signals::interrupted() {
        return Err(Exit::Interrupted);
    }
    if let Some(why) = recorded.stopped {
        eprintln!("mapcount: {} cannot be recorded here: {why}", source.path);
        return Err(Exit::Unavailable);
    }
    if unsettled > 0 {
        eprintln!("mapcount: {unsettled} observations never came to rest, after {retries} retries");
    }
    let mut bytes = Vec::new();
    for step in &recorded.steps {
        write_line(step, &mut bytes).expect("writing to memory");
    }
    match &args.output {
        None => {
            let mut out = std::io::stdout().lock();
            out.write_all(&bytes).and_then(|()| out.flush()).map_err(|error| Exit::of_write(&error))
        }
        Some(path) => write_whole(path, &bytes),
    }
}

/// Writes a file beside its place and moves it there, so that it is there whole or not at all.
pub(super) fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), Exit> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(format!(".{}.part", std::process::id()));
    let written = fs::write(&beside, bytes).and_then(|()| fs::rename(&beside, path));
    written.map_err(|error| {
        drop(fs::remove_file(&beside));
        eprintln!("mapcount: cannot write {}: {error}", path.display());
        Exit::Unavailable
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::write_whole;

    #[test]
    fn a_file_is_there_whole_or_not_at_all() {
        let folder = std::env::temp_dir().join(format!("mapcount-record-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        let path = folder.join("x.jsonl");
        write_whole(&path, b"{}\n").expect("written");
        assert_eq!(std::fs::read(&path).expect("readable"), b"{}\n");
        assert_eq!(std::fs::read_dir(&folder).expect("readable").count(), 1);
        assert!(write_whole(Path::new("/dev/full/x"), b"{}").is_err());
        std::fs::remove_dir_all(&folder).expect("removed");
    }
}
