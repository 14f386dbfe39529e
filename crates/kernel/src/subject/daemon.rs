//! Threads of the kernel that work when they are told to, and sleep when they are done.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;

/// A thread of the kernel.
#[derive(Debug)]
pub(super) struct Daemon {
    stat: File,
    status: File,
}

impl Daemon {
    /// The thread of this name, while there is one.
    pub(super) fn find(name: &str) -> Option<Daemon> {
        let processes = fs::read_dir("/proc").into_iter().flatten().filter_map(Result::ok);
        let mut pids = processes.filter_map(|entry| entry.file_name().to_string_lossy().parse::<u32>().ok());
        // Kernel threads have no command line, which any process can give itself a name with.
        let is_it = |pid: &u32| {
            fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|comm| comm.trim_end() == name)
                && fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line.is_empty())
        };
        let pid = pids.find(is_it)?;
        let open = |file: &str| File::open(format!("/proc/{pid}/{file}")).ok();
        Some(Daemon { stat: open("stat")?, status: open("status")? })
    }

    /// Whether it waits to be woken. It does not from the moment on that it is woken, whether it runs yet or not; and
    /// what it waits for while it works, as locks and other CPUs, is another kind of waiting.
    pub(super) fn sleeps(&self) -> bool {
        let mut text = [0; 64];
        let length = self.stat.read_at(&mut text, 0).unwrap_or(0);
        is_asleep(&text[..length])
    }

    /// How often it went to sleep by itself: while this does not grow, what looks like sleep may be the moment before.
    pub(super) fn naps(&self) -> u64 {
        let mut text = [0; 4096];
        let length = self.status.read_at(&mut text, 0).unwrap_or(0);
        naps(&String::from_utf8_lossy(&text[..length]))
    }
}

fn naps(status: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
    line.and_then(|count| count.trim().parse().ok()).unwrap_or(0)
}

/// The state in a text of `/proc/PID/stat`; the name before it may hold anything.
fn is_asleep(stat: &[u8]) -> bool {
    stat.windows(3).rposition(|part| part == b") S").is_some()
}

#[cfg(test)]
mod tests {
    use super::{is_asleep, naps};

    #[test]
    fn naps_are_counted_apart_from_being_pushed_aside() {
        let status = "Name:\tksmd\nvoluntary_ctxt_switches:\t17\nnonvoluntary_ctxt_switches:\t4\n";
        assert_eq!(naps(status), 17);
        assert_eq!(naps(""), 0);
    }

    #[test]
    fn a_thread_sleeps_if_its_state_says_so() {
        assert!(is_asleep(b"41 (ksmd) S 2 0 0 0 -1 2129984 0 0"));
        assert!(!is_asleep(b"41 (ksmd) R 2 0 0 0 -1 2129984 0 0"));
        assert!(!is_asleep(b"41 (ksmd) D 2 0 0 0 -1 2129984 0 0"));
        assert!(!is_asleep(b""));
    }
}
