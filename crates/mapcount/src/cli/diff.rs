//! `mapcount diff`.

use std::path::{Path, PathBuf};

use mapcount_model::profile::Profile;
use mapcount_model::release::Release;
use mapcount_script::diff::{self, diff, values};
use mapcount_script::run::{Next, Options, Runner, observe};
use mapcount_script::trace::{Recording, Step, read};

use super::{Exit, input, output};
use crate::report::diff::{Compared, render, table};
use crate::report::layout::Style;

/// Compare the model with what a real kernel printed, value by value.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The scenario.
    file: String,
    /// Recordings of it. Of a folder those that have the scenario's name, in it and in the folders in it.
    #[arg(required = true)]
    recording: Vec<String>,
    /// Run the model of this kernel or scheme instead of the recorded kernel's.
    #[arg(long, value_name = "K", value_parser = input::kernel_name)]
    kernel: Option<String>,
    /// Show so many differences of a recording.
    #[arg(long, value_name = "N", default_value_t = 20)]
    limit: usize,
}

pub(super) fn main(args: &Args) -> Exit {
    let source = match input::scenario(&args.file) {
        Ok(source) => source,
        Err(exit) => return exit,
    };
    let mut files = Vec::new();
    let mut folder = false;
    for path in &args.recording {
        if Path::new(path).is_dir() {
            folder = true;
            match within(path, &source) {
                Ok(found) => files.extend(found),
                Err(exit) => return exit,
            }
        } else {
            files.push(path.clone());
        }
    }
    let mut exit = Exit::Success;
    let mut compared = Vec::new();
    for file in &files {
        match compare(&source, file, args) {
            Ok(result) => {
                exit = exit.max(if result.is_equal() { Exit::Success } else { Exit::Finding });
                compared.push(result);
            }
            Err(worse) => exit = exit.max(worse),
        }
    }
    let text = if folder {
        table(&compared, args.limit, Style::Color)
    } else {
        let each = compared.iter().map(|result| render(result, args.limit, Style::Color));
        each.collect::<Vec<_>>().join("\n")
    };
    output::print(&text, exit)
}

/// The recordings of a scenario in a folder and below it, oldest kernel first. A recording is in the folder of its
/// kernel, or in one in that with the name of the scenario's own folder.
fn within(folder: &str, source: &input::Source) -> Result<Vec<String>, Exit> {
    let file = format!("{}.jsonl", source.name);
    let mut found = vec![Path::new(folder).join(&file)];
    for inner in folders(folder)? {
        found.push(inner.join(&file));
        found.extend(folders(&inner)?.into_iter().map(|topic| topic.join(&file)));
    }
    found.retain(|path| path.is_file());
    let topic = folder_name(Path::new(&source.path));
    let is_of_topic = |path: &PathBuf| topic.is_some() && folder_name(path) == topic;
    if found.iter().any(is_of_topic) {
        found.retain(is_of_topic);
    } else {
        // What is not in a kernel's own folder is of another scenario of this name.
        found.retain(|path| path.parent() == Some(Path::new(folder)) || release(path).is_some());
    }
    if found.is_empty() {
        eprintln!("mapcount: there is no {file} in {folder} nor in the folders in it");
        return Err(Exit::Unavailable);
    }
    // Names decide between kernels of one release, so that the order is always the same.
    found.sort_by_key(|path| (release(path).or_else(|| release(path.parent()?)), path.clone()));
    Ok(found.iter().map(|path| path.to_string_lossy().into_owned()).collect())
}

/// The folders in a folder.
fn folders(folder: impl AsRef<Path>) -> Result<Vec<PathBuf>, Exit> {
    let entries = std::fs::read_dir(&folder).map_err(|error| {
        eprintln!("mapcount: cannot read {}: {error}", folder.as_ref().display());
        Exit::Unavailable
    })?;
    Ok(entries.filter_map(Result::ok).map(|entry| entry.path()).filter(|path| path.is_dir()).collect())
}

/// The release of the kernel that the folder of a file is named after.
fn release(path: &Path) -> Option<Release> {
    folder_name(path).and_then(|name| Profile::resolve(&name).ok()).map(|profile| profile.release)
}

/// The name of the folder that a file is in.
fn folder_name(path: &Path) -> Option<String> {
    Some(path.parent()?.file_name()?.to_string_lossy().into_owned())
}

fn compare(source: &input::Source, file: &str, args: &Args) -> Result<Compared, Exit> {
    let bytes = input::read(file)?;
    let recording = read(&bytes, file).map_err(|errors| {
        for error in errors {
            eprintln!("mapcount: {error}");
        }
        Exit::Malformed
    })?;
    for ignored in &recording.ignored {
        eprintln!(
            "mapcount: {file}:{}: `{}` is no key of a trace and was not compared",
            ignored.line, ignored.key
        );
    }
    let profile = kernel(&recording, file, args)?;
    let model = run(source, &profile)?;
    let options = diff::Options::default();
    Ok(Compared {
        recording: file.to_owned(),
        kernel: profile.name.clone(),
        scheme: profile.scheme.info().id,
        differences: diff(&model.steps, &recording.steps, &options),
        steps: recording.steps.len(),
        values: values(&recording.steps),
        stopped: model.stopped,
    })
}

/// The kernel whose model is compared: what the command line says, else the recording, else its folder.
fn kernel(recording: &Recording, file: &str, args: &Args) -> Result<Profile, Exit> {
    let recorded = recording.steps.iter().find_map(|step| step.kernel.clone());
    let folder = folder_name(Path::new(file)).filter(|name| Profile::resolve(name).is_ok());
    let Some(name) = args.kernel.clone().or(recorded).or(folder) else {
        eprintln!("mapcount: {file} does not say which kernel it is of; name it with --kernel");
        return Err(Exit::Malformed);
    };
    Profile::resolve(&name).map_err(|error| {
        eprintln!("mapcount: {file}: {error}; name another one with --kernel");
        Exit::Malformed
    })
}

/// What the model printed.
struct Trace {
    steps: Vec<Step>,
    /// Why it did not run to the end.
    stopped: Option<String>,
}

fn run(source: &input::Source, profile: &Profile) -> Result<Trace, Exit> {
    let told = |finding: mapcount_script::run::Finding| {
        let text = finding.diagnostic.render(&source.path, &source.bytes, input::stderr_has_color());
        eprintln!("{text}");
        Exit::Finding
    };
    let runner = Runner::new(&source.scenario, profile, Options::default());
    let Some(mut runner) = runner.map_err(|finding| told(*finding))? else {
        eprintln!("mapcount: {} does not apply to {}", source.path, profile.name);
        return Err(Exit::Finding);
    };
    let mut trace = Trace { steps: Vec::new(), stopped: None };
    while let Some(next) = runner.advance() {
        // What a scenario expects is `run`'s business; the recording is the measure here.
        let Next::Step(report, result) = next else { continue };
        let leaves_a_state = result.as_ref().map_or_else(|finding| finding.kind.leaves_a_state(), |()| true);
        if leaves_a_state {
            trace.steps.push(observe(&runner, &report, &source.name));
        }
        if let Err(finding) = result {
            let line = finding.diagnostic.span.line;
            trace.stopped = Some(format!("line {line}: {}", finding.diagnostic.message));
            break;
        }
    }
    Ok(trace)
}
