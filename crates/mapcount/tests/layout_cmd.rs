//! `mapcount layout` of real kernels.

use std::process::{Command, Output};

use mapcount_kernel::btf::Btf;
use mapcount_kernel::{live, require};
use mapcount_model::field::TABLE;

fn layout(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_mapcount")).arg("layout").args(arguments).output().expect("it runs")
}

#[test]
fn the_running_kernels_words_are_told_with_every_counter_that_it_has() {
    let Some((profile, _)) =
        require::or_skip("layout --live", live::profile().and_then(|profile| Ok((profile, Btf::live()?))))
    else {
        return;
    };
    let output = layout(&["--live"]);
    assert_eq!(output.status.code(), Some(0));
    let picture = String::from_utf8(output.stdout).expect("UTF-8");
    let release = live::release().expect("procfs");
    assert!(picture.starts_with(&format!("Where Linux {release} keeps")), "{picture}");
    for field in profile.scheme.info().fields {
        let names = TABLE[*field as usize].names;
        let has_it = names.iter().any(|(_, kernels)| kernels.contains(profile.release));
        let name = field.kernel_name(profile.release);
        assert!(!has_it || picture.contains(&format!("*{name}")), "{name} is not in\n{picture}");
    }
}

#[test]
fn what_is_no_btf_is_told_with_what_would_be() {
    for (file, expected) in [
        ("no-such-file", "no-such-file: No such file or directory (os error 2); name a file with BTF\n"),
        (
            env!("CARGO_MANIFEST_PATH"),
            "it does not begin as BTF does; name a blob of BTF or a vmlinux with a section .BTF\n",
        ),
    ] {
        let output = layout(&["--btf", file]);
        assert_eq!(output.status.code(), Some(69), "{file}");
        assert!(output.stdout.is_empty(), "{file}");
        let message = String::from_utf8_lossy(&output.stderr);
        assert!(message.starts_with("mapcount: ") && message.ends_with(expected), "{message}");
    }
}

#[test]
fn one_kernel_is_shown_at_a_time() {
    for arguments in
        [&["--live", "--kernel", "6.1"][..], &["--btf", "x", "--live"], &["--btf", "x", "--kernel", "6.1"]]
    {
        assert_eq!(layout(arguments).status.code(), Some(2), "{arguments:?}");
    }
}
