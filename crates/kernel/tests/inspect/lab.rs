//! The same checks on kernels of the Debian archive in QEMU.

use std::time::{Duration, Instant};

use mapcount_kernel::lab::debian::Archive;
use mapcount_kernel::lab::{self, Event, Image, Job, Options, Outcome};
use mapcount_kernel::{Unavailable, require};

/// The oldest kernel that can be read, two of long support, and the newest one.
const KERNELS: [&str; 4] = ["5.10", "6.1", "6.12", "7.2"];

fn images() -> Result<Vec<Image>, Unavailable> {
    let mut archive = Archive::configured()?;
    KERNELS.iter().map(|release| archive.kernel(&format!("debian:{release}"), release)).collect()
}

/// What a guest said, and how it ended.
#[derive(Default)]
struct Told {
    text: Vec<u8>,
    outcome: Option<Outcome>,
}

fn boot(images: &[Image]) -> Result<Vec<Told>, Unavailable> {
    let job = Job {
        arguments: Vec::new(),
        folder: "/tmp".to_owned(),
        environment: [(super::GUEST, "1"), (require::VARIABLE, "1")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .to_vec(),
    };
    let options = Options {
        memory: 1024,
        timeout: Duration::from_secs(600),
        accelerator: None,
        append: String::new(),
        jobs: None,
    };
    let mut told: Vec<Told> = images.iter().map(|_| Told::default()).collect();
    lab::run(images, (&job, None), &options, &|| false, &mut |index, event| match event {
        Event::Stdout(bytes) | Event::Stderr(bytes) => told[index].text.extend(bytes),
        Event::Over(report) => told[index].outcome = Some(report.outcome),
        Event::File { .. } | Event::Left(_) | Event::Note(_) => {}
    })?;
    Ok(told)
}

pub(crate) fn all_checks_pass_on_kernels_in_the_lab() {
    let Some(images) = require::or_skip("lab", images()) else { return };
    let start = Instant::now();
    let Some(guests) = require::or_skip("lab", boot(&images)) else { return };
    let mut failed = Vec::new();
    for (name, Told { text, outcome }) in KERNELS.iter().zip(guests) {
        let text = String::from_utf8_lossy(&text);
        match outcome {
            Some(Outcome::Ended(ended)) if ended.code == Some(0) => {
                let passed = text.lines().filter(|line| line.ends_with("... ok")).count();
                // Each by BPF and by kcore, but for what cgroups are charged.
                assert_eq!(passed, 2 * super::CHECKS.len() - 1, "{text}");
                for line in text.lines().filter(|line| line.contains("skipped")) {
                    println!("debian:{name}: {line}");
                }
            }
            outcome => {
                println!("debian:{name}: {outcome:?}\n{text}");
                failed.push(name);
            }
        }
    }
    println!("{} kernels in {} s", KERNELS.len(), start.elapsed().as_secs());
    assert!(failed.is_empty(), "checks failed on {failed:?}");
}
