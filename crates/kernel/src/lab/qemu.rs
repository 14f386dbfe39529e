//! The machine that a guest runs on, as QEMU is told it.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{job, tool};
use crate::Unavailable;

/// Who executes a guest's instructions.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Accelerator {
    /// The processor (KVM).
    Kvm,
    /// QEMU (TCG): slower, and always there.
    Tcg,
}

impl Accelerator {
    /// As users write it.
    pub const fn word(self) -> &'static str {
        match self {
            Accelerator::Kvm => "kvm",
            Accelerator::Tcg => "tcg",
        }
    }

    /// KVM where this machine has it, else TCG. That `/dev/kvm` can be opened is not enough: inside of some
    /// virtual machines it is there without a processor that can do it.
    pub fn best() -> Accelerator {
        let opens = fs::OpenOptions::new().read(true).write(true).open("/dev/kvm").is_ok();
        let processors = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        if opens && can_virtualise(&processors) { Accelerator::Kvm } else { Accelerator::Tcg }
    }
}

fn can_virtualise(processors: &str) -> bool {
    let flags = processors.lines().find(|line| line.starts_with("flags"));
    flags.is_some_and(|line| line.split_whitespace().any(|flag| flag == "vmx" || flag == "svm"))
}

/// QEMU, and how large its machines are.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Qemu {
    program: PathBuf,
    /// Memory of a guest, in MiB; half of it on each of two NUMA nodes.
    memory: u64,
    /// More words for the kernel.
    append: String,
}

/// The files that a machine starts with.
#[derive(Clone, Copy, Debug)]
pub(super) struct Files<'a> {
    /// The kernel's image.
    pub(super) kernel: &'a Path,
    /// The initramfs.
    pub(super) initramfs: &'a Path,
    /// Where the console's output goes.
    pub(super) console: &'a Path,
    /// The disk to swap to.
    pub(super) swap: &'a Path,
}

impl Qemu {
    /// Finds QEMU.
    ///
    /// # Errors
    /// Where it is not installed.
    pub(super) fn find(memory: u64, append: &str) -> Result<Qemu, Unavailable> {
        let program = tool::find(
            "qemu-system-x86_64",
            "qemu-system-x86 (Debian, Ubuntu) or qemu-system-x86-core (Fedora)",
        )?;
        Ok(Qemu { program, memory, append: append.to_owned() })
    }

    /// The command that starts a machine. Frames come from its standard output.
    pub(super) fn command(&self, accelerator: Accelerator, files: Files<'_>) -> Command {
        let mut command = Command::new(&self.program);
        command.args(["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-smp", "2"]);
        match accelerator {
            Accelerator::Kvm => command.args(["-accel", "kvm", "-cpu", "host"]),
            // Without cx16 because QEMU 7.2 corrupts flags when an interrupt follows CMPXCHG16B.
            Accelerator::Tcg => command.args(["-accel", "tcg,thread=multi", "-cpu", "max,cx16=off"]),
        };
        command.arg("-m").arg(format!("{}M", self.memory));
        let half = self.memory / 2;
        for (node, size) in [half, self.memory - half].iter().enumerate() {
            command.arg("-object").arg(format!("memory-backend-ram,id=m{node},size={size}M"));
            // Both processors are on node 0, so that memory comes from there unless a step asks otherwise.
            let processors = if node == 0 { ",cpus=0-1" } else { "" };
            command.arg("-numa").arg(format!("node,nodeid={node},memdev=m{node}{processors}"));
        }
        command.arg("-kernel").arg(files.kernel).arg("-initrd").arg(files.initramfs);
        command.arg("-append").arg(self.kernel_words());
        command.arg("-chardev").arg(option("file,id=console,path=", files.console));
        command.args(["-serial", "chardev:console", "-chardev", "stdio,id=frames,signal=off"]);
        command.args(["-serial", "chardev:frames"]);
        command.arg("-drive").arg(option("if=none,id=swap,format=raw,cache=unsafe,file=", files.swap));
        // NVMe because distributions' kernels have its driver built in; a kernel without it has no swap.
        command.args(["-device", "nvme,drive=swap,serial=swap"]);
        command
    }

    fn kernel_words(&self) -> String {
        // A guest that has panicked ends at once.
        let end = "console=ttyS0 quiet panic=-1 oops=panic";
        // What would change counters behind a scenario's back is off.
        let still = "numa_balancing=disable damon_stat.enabled=N";
        // Under emulation an overloaded host makes the check of the timer fail, and a guest panics for nothing.
        let steady = "no_timer_check nowatchdog";
        // Counting how fast the processor is, tests of cryptography and moving the kernel take half of the boot.
        let fast = "lpj=5000000 cryptomgr.notests nokaslr mitigations=off";
        let libraries = job::LIBRARIES;
        // What the kernel does not know goes into the first process's environment.
        format!("{end} {still} {steady} {fast} LD_LIBRARY_PATH={libraries} {}", self.append)
            .trim_end()
            .to_owned()
    }
}

/// A path as the last value of an option: QEMU reads a doubled comma as one.
fn option(before: &str, path: &Path) -> OsString {
    let mut text = OsString::from(before);
    text.push(path.to_string_lossy().replace(',', ",,"));
    text
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{Accelerator, Files, Qemu, can_virtualise, option};

    #[test]
    fn only_processors_that_can_virtualise_are_asked_to() {
        assert!(can_virtualise("processor : 0\nflags\t\t: fpu vmx sse\n"));
        assert!(can_virtualise("flags: svm"));
        assert!(!can_virtualise("flags\t\t: fpu sse hypervisor\n"));
        assert!(!can_virtualise(""));
    }

    #[test]
    fn a_machine_has_two_nodes_and_what_it_was_given() {
        let qemu = Qemu { program: "qemu".into(), memory: 1025, append: "ignore_loglevel".to_owned() };
        let [kernel, initramfs, console, swap] = ["/k", "/i", "/a,b", "/s"].map(Path::new);
        let command = qemu.command(Accelerator::Tcg, Files { kernel, initramfs, console, swap });
        let words: Vec<_> = command.get_args().map(|word| word.to_string_lossy().into_owned()).collect();
        let text = words.join(" ");
        for part in [
            "size=512M -numa node,nodeid=0,memdev=m0,cpus=0-1",
            "size=513M -numa node,nodeid=1,memdev=m1 ",
            "cx16=off",
            "path=/a,,b",
            "-kernel /k -initrd /i",
            "ignore_loglevel",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert_eq!(option("x=", Path::new("/a")), "x=/a");
    }
}
