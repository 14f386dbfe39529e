//! `mapcount lab`.

mod printer;

use std::io::{IsTerminal as _, Read as _};
use std::path::Path;
use std::time::Duration;

use clap::Parser as _;
use mapcount_kernel::lab::debian::Archive;
use mapcount_kernel::lab::{self, Accelerator, Image, Job, Options};
use mapcount_kernel::{Unavailable, signals};

use super::{Cli, Command, Exit};
use printer::Printer;

/// Boot kernels in QEMU and run a command of mapcount in each of them.
///
/// Files that the command names are there under the same paths; files that it writes in the working directory are
/// brought back. Where several kernels write different files of one name, each goes into a folder named after
/// the kernel's release beside it.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// A vmlinuz or bzImage, or a kernel of the Debian archive: debian:6.12, debian:5.10.0-32, debian:7.2.
    #[arg(required = true, value_name = "KERNEL", value_parser = kernel)]
    kernels: Vec<Kernel>,
    /// Memory of a guest, in MiB; half of it on each of two NUMA nodes.
    #[arg(long, value_name = "MIB", default_value_t = 1024, value_parser = clap::value_parser!(u64).range(256..=1 << 20))]
    memory: u64,
    /// Seconds after which a guest counts as lost.
    #[arg(long, value_name = "SECONDS", default_value_t = 1800, value_parser = clap::value_parser!(u64).range(1..))]
    timeout: u64,
    /// Who executes guests [default: kvm where the processor can, else tcg]
    #[arg(long, value_name = "kvm|tcg", value_parser = accelerator)]
    accel: Option<Accelerator>,
    /// Most guests at a time [default: as many as memory and processors allow]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    jobs: Option<u16>,
    /// More words for the kernels' command line.
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    append: String,
    /// The command: run FILE, record FILE, conform FILE …
    #[arg(last = true, required = true, value_name = "ARGS")]
    command: Vec<String>,
}

/// Which kernel is asked for.
#[derive(Clone, Debug)]
enum Kernel {
    /// A file.
    Path(String),
    /// A kernel of the Debian archive: the beginning of its release.
    Debian(String),
}

fn kernel(word: &str) -> Result<Kernel, String> {
    let Some(release) = word.strip_prefix("debian:") else { return Ok(Kernel::Path(word.to_owned())) };
    let belongs = |c: char| c.is_ascii_alphanumeric() || ".+-~".contains(c);
    if release.starts_with(|c: char| c.is_ascii_digit()) && release.chars().all(belongs) {
        Ok(Kernel::Debian(release.to_owned()))
    } else {
        Err("a kernel of the Debian archive is named by its release: debian:6.12".to_owned())
    }
}

fn accelerator(word: &str) -> Result<Accelerator, String> {
    let known = [Accelerator::Kvm, Accelerator::Tcg];
    known
        .into_iter()
        .find(|accelerator| accelerator.word() == word)
        .ok_or_else(|| "it is kvm or tcg".to_owned())
}

pub(super) fn main(args: &Args) -> Exit {
    // What the guests would refuse is refused here, before one is booted.
    match Cli::try_parse_from(std::iter::once("mapcount").chain(args.command.iter().map(String::as_str))) {
        Ok(Cli { command: Command::Lab(_) }) => {
            eprintln!("mapcount: a lab inside of a lab is not possible; name another command after --");
            return Exit::Usage;
        }
        Ok(_) => {}
        Err(error) => error.exit(),
    }
    match run(args) {
        Ok(exit) => exit,
        Err(missing) => {
            eprintln!("mapcount: {missing}");
            Exit::Unavailable
        }
    }
}

fn run(args: &Args) -> Result<Exit, Unavailable> {
    let images = images(&args.kernels)?;
    let (job, stdin) = job(&args.command)?;
    let options = Options {
        memory: args.memory,
        timeout: Duration::from_secs(args.timeout),
        accelerator: args.accel,
        append: args.append.clone(),
        jobs: args.jobs.map(usize::from),
    };
    signals::catch();
    let mut printer = Printer::new(&images);
    // A closed pipe stops the guests too: nobody is left to read what they say.
    let closed = printer.closed();
    let is_stopped = || signals::interrupted() || closed.load(std::sync::atomic::Ordering::Relaxed);
    lab::run(&images, (&job, stdin), &options, &is_stopped, &mut |index, event| printer.take(index, event))?;
    Ok(printer.finish(Path::new(&job.folder)))
}

/// The kernels' images; all of them are looked at before the first is booted.
fn images(kernels: &[Kernel]) -> Result<Vec<Image>, Unavailable> {
    let mut archive = None;
    let mut images = Vec::new();
    for kernel in kernels {
        let release = match kernel {
            Kernel::Path(path) => {
                images.push(Image::open(path, Path::new(path))?);
                continue;
            }
            Kernel::Debian(release) => release,
        };
        let archive: &mut Archive = match &mut archive {
            Some(archive) => archive,
            none => none.insert(Archive::configured()?),
        };
        let image = archive.kernel(&format!("debian:{release}"), release);
        for note in archive.take_notes() {
            eprintln!("mapcount: {note}");
        }
        images.push(image?);
    }
    Ok(images)
}

/// What guests are to do, and what the command gets on its standard input where it reads it.
fn job(command: &[String]) -> Result<(Job, Option<Vec<u8>>), Unavailable> {
    let folder = std::env::current_dir().map_err(|error| {
        Unavailable::new(format!("the working directory is not known: {error}"), "change to another one")
    })?;
    let folder = folder.into_os_string().into_string().map_err(|folder| {
        let what = format!("the working directory {} is not UTF-8", folder.display());
        Unavailable::new(what, "change to another one")
    })?;
    let kept = ["NO_COLOR", "CLICOLOR_FORCE", "RUST_BACKTRACE"];
    let mut environment: Vec<(String, String)> =
        kept.iter().filter_map(|name| Some(((*name).to_owned(), std::env::var(name).ok()?))).collect();
    if environment.is_empty() && std::io::stdout().is_terminal() {
        environment.push(("CLICOLOR_FORCE".to_owned(), "1".to_owned()));
    }
    let stdin = if command.iter().any(|word| word == "-") {
        let mut bytes = Vec::new();
        let most = mapcount_script::parse::MAX_BYTES + 1;
        let read = std::io::stdin().take(most).read_to_end(&mut bytes);
        read.map_err(|error| {
            Unavailable::new(format!("cannot read standard input: {error}"), "name a file")
        })?;
        Some(bytes)
    } else {
        None
    };
    Ok((Job { arguments: command.to_vec(), folder, environment }, stdin))
}
