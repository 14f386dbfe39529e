//! Reading scenarios and recordings, and naming kernels.

use std::fs::File;
use std::io::{IsTerminal, Read};
use std::path::{Path, PathBuf};

use mapcount_model::profile::Profile;
use mapcount_script::ast::Scenario;
use mapcount_script::parse::{self, check_length, parse};

use super::Exit;

/// A scenario with its source.
pub(super) struct Source {
    /// The path as it was given; `-` is standard input.
    pub(super) path: String,
    /// The file's name without its ending: the scenario's name in traces.
    pub(super) name: String,
    /// Its bytes.
    pub(super) bytes: Vec<u8>,
    /// What it says.
    pub(super) scenario: Scenario,
}

/// Whether stderr takes colour.
pub(super) fn stderr_has_color() -> bool {
    std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Reads a file, or standard input for `-`, that has at most as many bytes as a scenario may have. Says on
/// stderr what is wrong.
pub(super) fn read(path: &str) -> Result<Vec<u8>, Exit> {
    let unreadable = |error: std::io::Error| {
        eprintln!("mapcount: cannot read {path}: {error}");
        Exit::Unavailable
    };
    let too_long = |length| {
        check_length(length).map_err(|errors| {
            eprintln!("{}", errors.render(path, b"", stderr_has_color()));
            Exit::Malformed
        })
    };
    let mut bytes = Vec::new();
    if path == "-" {
        std::io::stdin().take(parse::MAX_BYTES + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    } else {
        let file = File::open(path).map_err(unreadable)?;
        let length = file.metadata().map_err(unreadable)?.len();
        too_long(length)?;
        file.take(parse::MAX_BYTES + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    }
    too_long(bytes.len() as u64)?;
    Ok(bytes)
}

/// Reads and parses a scenario. Says on stderr what is wrong.
pub(super) fn scenario(path: &str) -> Result<Source, Exit> {
    let bytes = read(path)?;
    match parse(&bytes) {
        Ok(scenario) => Ok(Source { path: path.to_owned(), name: scenario_name(path), bytes, scenario }),
        Err(errors) => {
            eprintln!("{}", errors.render(path, &bytes, stderr_has_color()));
            Err(Exit::Malformed)
        }
    }
}

/// The scenarios of files and folders, those of a folder in the order of their paths.
pub(super) fn scenarios(files: &[String]) -> Result<Vec<Source>, Exit> {
    let mut paths = Vec::new();
    for file in files {
        if Path::new(file).is_dir() {
            let before = paths.len();
            within(Path::new(file), &mut paths)?;
            if paths.len() == before {
                eprintln!("mapcount: there is no scenario in {file}: their files end in .mc");
                return Err(Exit::Unavailable);
            }
        } else {
            paths.push(file.clone());
        }
    }
    paths.iter().map(|path| scenario(path)).collect()
}

fn within(folder: &Path, paths: &mut Vec<String>) -> Result<(), Exit> {
    let unreadable = |error: std::io::Error| {
        eprintln!("mapcount: cannot read {}: {error}", folder.display());
        Exit::Unavailable
    };
    let entries = std::fs::read_dir(folder).map_err(unreadable)?;
    let mut entries: Vec<PathBuf> =
        entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<_, _>>().map_err(unreadable)?;
    entries.sort();
    for path in entries {
        if path.is_dir() {
            within(&path, paths)?;
        } else if path.extension().is_some_and(|ending| ending == "mc") {
            paths.push(path.to_string_lossy().into_owned());
        }
    }
    Ok(())
}

fn scenario_name(path: &str) -> String {
    let file = path.rsplit('/').next().unwrap_or(path);
    file.strip_suffix(".mc").unwrap_or(file).to_owned()
}

/// A kernel or scheme by name, for clap.
pub(super) fn kernel(name: &str) -> Result<Profile, String> {
    Profile::resolve(name).map_err(|unknown| unknown.to_string())
}

/// The name of a kernel or scheme, for clap.
pub(super) fn kernel_name(name: &str) -> Result<String, String> {
    kernel(name).map(|profile| profile.name)
}

/// The kernel of a name that [`kernel_name`] let through.
pub(super) fn named(name: &str) -> Profile {
    kernel(name).expect("looked at when the command line was read")
}
