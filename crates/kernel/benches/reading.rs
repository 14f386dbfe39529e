//! How fast the running kernel is read: `cargo bench -p mapcount-kernel`, as root.
//!
//! Prints every `struct page` of the machine beside a pass over /proc/kpageflags, and what it takes to observe
//! small scenes of this process. Medians, and the least for machines that do something else as well.

use std::collections::BTreeMap;
use std::fs::File;
use std::hint::black_box;
use std::ops::ControlFlow;
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

use mapcount_kernel::Unavailable;
use mapcount_kernel::census::Census;
use mapcount_kernel::observer::{Choice, Watched, Window, open};

/// Passes over all memory; the median is told.
const PASSES: usize = 11;

/// Observations, each timed by itself.
const OBSERVATIONS: usize = 401;

fn main() {
    // Without `--bench` this is a test run, which has nothing to measure.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    for choice in [Choice::Bpf, Choice::Kcore] {
        if let Err(missing) = census(choice) {
            println!("census by {choice:?}: {missing}");
        }
    }
    for choice in [Choice::Bpf, Choice::Kcore, Choice::Proc] {
        if let Err(missing) = scenes(choice) {
            println!("scenes by {choice:?}: {missing}");
        }
    }
}

/// The median and the least.
fn measure(samples: usize, mut work: impl FnMut()) -> (Duration, Duration) {
    let mut times: Vec<Duration> = (0..samples)
        .map(|_| {
            let start = Instant::now();
            work();
            start.elapsed()
        })
        .collect();
    times.sort_unstable();
    (times[samples / 2], times[0])
}

/// The time that this process has had a CPU, which does not depend on what else the machine does.
fn cpu_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a valid place for the answer.
    unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &raw mut time) };
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec as u32)
}

/// Every `struct page`, with a glance at each page's flags and counters.
fn census(choice: Choice) -> Result<(), Unavailable> {
    let mut census = Census::open(choice)?;
    let mut passed = Default::default();
    let mut heads = 0_u64;
    let before = cpu_time();
    let (pages, least) = measure(PASSES, || {
        heads = 0;
        passed = census
            .each(|pages| {
                for words in pages.words().chunks_exact(pages.page_words()) {
                    heads += u64::from(words[0] & 1 << 6 != 0 && words[1] & 1 == 0);
                }
                ControlFlow::Continue(())
            })
            .expect("readable before");
    });
    let cpu = (cpu_time() - before) / PASSES as u32;
    black_box(heads);
    let file =
        File::open("/proc/kpageflags").map_err(|error| Unavailable::new(error.to_string(), "be root"))?;
    let mut buffer = vec![0; 1 << 20];
    let ranges = census.ranges().to_vec();
    let (flags, _) = measure(PASSES, || {
        for (first, count) in &ranges {
            let (mut at, end) = (first * 8, (first + count) * 8);
            while at < end {
                let length = buffer.len().min((end - at) as usize);
                at += file.read_at(&mut buffer[..length], at).expect("readable") as u64;
            }
        }
    });
    let gib = passed.pages as f64 * 4096.0 / f64::from(1 << 30);
    let ms = |time: Duration| time.as_secs_f64() * 1e3;
    println!(
        "census by {choice:?}: {} struct pages ({gib:.1} GiB of memory, {} unreadable) in {:.1} ms (at \
         least {:.1}), {:.2} ns a page",
        passed.pages,
        passed.unreadable,
        ms(pages),
        ms(least),
        pages.as_secs_f64() * 1e9 / passed.pages as f64,
    );
    println!(
        "  goal: 24 GiB in 45 ms; here that makes {:.1} ms, and {:.1} ms of a CPU's time",
        ms(pages) * 24.0 / gib,
        ms(cpu) * 24.0 / gib
    );
    println!(
        "  a pass over /proc/kpageflags: {:.1} ms, {:.1} times as long (goal: 10)",
        ms(flags),
        flags.as_secs_f64() / pages.as_secs_f64()
    );
    Ok(())
}

/// Memory of this process, at most a quarter of a window of addresses.
struct Scene(*mut u8, usize);

impl Scene {
    fn new(at: usize, bytes: usize, advice: libc::c_int) -> Scene {
        let access = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED_NOREPLACE;
        // SAFETY: MAP_FIXED_NOREPLACE refuses where something is mapped; the range is written within its bounds.
        unsafe {
            let start = libc::mmap(std::ptr::without_provenance_mut(at), bytes, access, flags, -1, 0);
            assert_ne!(start, libc::MAP_FAILED);
            libc::madvise(start, bytes, advice);
            std::ptr::write_bytes(start.cast::<u8>(), 1, bytes);
            Scene(start.cast(), bytes)
        }
    }

    fn window(&self) -> Window {
        Window { start: self.0.addr() as u64, pages: self.1 as u64 / 4096, room: 1 << 18 }
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        // SAFETY: the range was mapped by `new`.
        unsafe { libc::munmap(self.0.cast(), self.1) };
    }
}

fn scenes(choice: Choice) -> Result<(), Unavailable> {
    let mut observer = open(choice)?;
    let huge = Scene::new(0x1000_0000_0000, 2 << 20, libc::MADV_HUGEPAGE);
    let small = Scene::new(0x1000_4000_0000, 512 << 12, libc::MADV_NOHUGEPAGE);
    let few = Scene::new(0x1000_8000_0000, 16 << 12, libc::MADV_NOHUGEPAGE);
    for (name, scene) in [("a THP", &huge), ("512 small pages", &small), ("16 small pages", &few)] {
        let windows = BTreeMap::from([("x".to_owned(), scene.window())]);
        let watched = [Watched { name: "A".to_owned(), pid: std::process::id(), windows }];
        for system in [false, true] {
            observer.watch_system(system)?;
            let (time, least) = measure(OBSERVATIONS, || {
                black_box(observer.observe(&watched).expect("readable"));
            });
            let with = if system { "with" } else { "without" };
            println!(
                "observe by {choice:?}: {name}, {with} statistics: {:.1} µs (at least {:.1})",
                time.as_secs_f64() * 1e6,
                least.as_secs_f64() * 1e6
            );
        }
    }
    Ok(())
}
