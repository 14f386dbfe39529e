//! `mapcount record`.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use mapcount_kernel::driven::Driven;
use mapcount_kernel::{live as kernel, signals};
use mapcount_script::run::applies;
use mapcount_script::trace::{Step, write_line};

use super::{Exit, input, live};

/// Run scenarios on the running kernel, and print what each step left in struct page
///
/// Needs root. Settings of the kernel that this changes are restored, whatever happens.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The scenario; `-` is standard input. With --out, scenarios and folders of them
    #[arg(required = true, value_name = "FILE")]
    files: Vec<String>,
    /// Where to write the recording, all of it or nothing [default: standard output]
    #[arg(long, short, value_name = "FILE", conflicts_with = "out")]
    output: Option<PathBuf>,
    /// Write the recording of TOPIC/NAME.mc to RELEASE/TOPIC/NAME.jsonl in this folder; what this kernel cannot
    /// run to its end is left out
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
    #[command(flatten)]
    live: live::Live,
}

pub(super) fn main(args: &Args) -> Exit {
    let done = match &args.out {
        Some(folder) => record_all(args, folder),
        None => record(args),
    };
    match done {
        Ok(()) => Exit::Success,
        Err(exit) => exit,
    }
}

/// Takes the kernel over, and says what is not recorded.
fn open(args: &Args) -> Result<Driven, Exit> {
    let (driven, unwatched) = args.live.open()?;
    if let Some(why) = unwatched {
        eprintln!("mapcount: the statistics of the system are not recorded: {why}");
    }
    Ok(driven)
}

fn record(args: &Args) -> Result<(), Exit> {
    let [file] = &args.files[..] else {
        eprintln!("mapcount: recordings of several scenarios go into a folder: name it with --out");
        return Err(Exit::Usage);
    };
    let source = input::scenario(file)?;
    let mut driven = open(args)?;
    let recorded = driven.record(&source.scenario, &source.name);
    // Settings are restored before anything is written.
    let unrest = driven.unrest();
    drop(driven);
    let recorded = recorded.map_err(|trouble| live::trouble(&trouble, Some(&source)))?;
    if signals::interrupted() {
        return Err(Exit::Interrupted);
    }
    if let Some(why) = recorded.stopped {
        eprintln!("mapcount: {} cannot be recorded here: {why}", source.path);
        return Err(Exit::Unavailable);
    }
    tell_unrest(unrest);
    let bytes = lines(&recorded.steps);
    match &args.output {
        None => {
            let mut out = std::io::stdout().lock();
            out.write_all(&bytes).and_then(|()| out.flush()).map_err(|error| Exit::of_write(&error))
        }
        Some(path) => write_whole(path, &bytes),
    }
}

/// Records all scenarios that this kernel can run to their end.
fn record_all(args: &Args, folder: &Path) -> Result<(), Exit> {
    let sources = input::scenarios(&args.files)?;
    let profile = kernel::profile().map_err(|missing| live::unavailable(&missing))?;
    let mut driven = open(args)?;
    let folder = folder.join(driven.patched_release());
    let mut count = 0;
    for source in &sources {
        let why = if source.scenario.kernels.as_ref().is_some_and(|kernels| !applies(kernels, &profile)) {
            Some("it is for other kernels".to_owned())
        } else {
            let recorded = driven.record(&source.scenario, &source.name);
            let recorded = recorded.map_err(|trouble| live::trouble(&trouble, Some(source)))?;
            if signals::interrupted() {
                return Err(Exit::Interrupted);
            }
            if recorded.stopped.is_none() {
                let path = folder.join(place(&source.path));
                let topic = path.parent().unwrap_or(&folder);
                std::fs::create_dir_all(topic).map_err(|error| unwritable(topic, &error))?;
                write_whole(&path, &lines(&recorded.steps))?;
                count += 1;
            }
            recorded.stopped
        };
        if let Some(why) = why {
            eprintln!("mapcount: {} cannot be recorded here: {why}", source.path);
        }
    }
    tell_unrest(driven.unrest());
    eprintln!("mapcount: recorded {count} of {} scenarios in {}", sources.len(), folder.display());
    if count == 0 { Err(Exit::Unavailable) } else { Ok(()) }
}

/// Where the recording of a scenario is, in the folder of its kernel: under the name of the folder that it is in.
fn place(path: &str) -> PathBuf {
    let path = Path::new(path);
    let topic = path.parent().and_then(Path::file_name).map(PathBuf::from).unwrap_or_default();
    let name = path.file_stem().unwrap_or_default();
    topic.join(name).with_extension("jsonl")
}

fn tell_unrest((retries, unsettled): (u64, u64)) {
    if unsettled > 0 {
        eprintln!("mapcount: {unsettled} observations never came to rest, after {retries} retries");
    }
}

/// A recording as it is written.
pub(super) fn lines(steps: &[Step]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for step in steps {
        write_line(step, &mut bytes).expect("writing to memory");
    }
    bytes
}

/// Writes a file beside its place and moves it there, so that it is there whole or not at all. A device or a pipe is
/// written to where it is.
pub(super) fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), Exit> {
    if path.metadata().is_ok_and(|about| !about.is_file() && !about.is_dir()) {
        let written = File::options().write(true).open(path).and_then(|mut file| file.write_all(bytes));
        return written.map_err(|error| unwritable(path, &error));
    }
    let mut beside = path.as_os_str().to_owned();
    beside.push(format!(".{}.part", std::process::id()));
    let written = fs::write(&beside, bytes).and_then(|()| fs::rename(&beside, path));
    written.map_err(|error| {
        drop(fs::remove_file(&beside));
        unwritable(path, &error)
    })
}

fn unwritable(path: &Path, error: &std::io::Error) -> Exit {
    eprintln!("mapcount: cannot write {}: {error}", path.display());
    Exit::Unavailable
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{place, write_whole};

    #[test]
    fn a_recording_is_named_after_its_scenario_and_the_folder_of_that() {
        for (path, place_of) in [
            ("scenarios/files/private-cow.mc", "files/private-cow.jsonl"),
            ("/a/b/hugetlb/private-cow.mc", "hugetlb/private-cow.jsonl"),
            ("x.mc", "x.jsonl"),
        ] {
            assert_eq!(place(path), Path::new(place_of));
        }
    }

    #[test]
    fn a_file_is_there_whole_or_not_at_all() {
        let folder = std::env::temp_dir().join(format!("mapcount-record-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        let path = folder.join("x.jsonl");
        write_whole(&path, b"{}\n").expect("written");
        assert_eq!(std::fs::read(&path).expect("readable"), b"{}\n");
        assert_eq!(std::fs::read_dir(&folder).expect("readable").count(), 1);
        assert!(write_whole(Path::new("/dev/full/x"), b"{}").is_err());
        assert!(write_whole(Path::new("/dev/full"), b"{}").is_err());
        assert!(!Path::new("/dev/full").is_file(), "a device is not replaced by a file");
        std::fs::remove_dir_all(&folder).expect("removed");
    }
}
