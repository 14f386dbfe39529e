//! `mapcount layout`.

use std::path::{Path, PathBuf};

use mapcount_kernel::btf::{self, Btf};
use mapcount_kernel::{Unavailable, live};
use mapcount_model::layout::layout;
use mapcount_model::profile::Profile;

use super::{Exit, input, output};
use crate::report::layout::{Style, render};

/// Show where struct page and struct folio keep their counters.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// A kernel (5.10, 6.12.107) or a scheme [default: the newest].
    #[arg(long, value_name = "K", value_parser = input::kernel_name)]
    kernel: Option<String>,

    /// The kernel that is running, by its own description of its types.
    #[arg(long, conflicts_with_all = ["kernel", "btf"])]
    live: bool,

    /// The kernel that FILE describes: BTF, or a vmlinux with a section .BTF.
    #[arg(long, value_name = "FILE", conflicts_with = "kernel")]
    btf: Option<PathBuf>,
}

pub(super) fn main(args: &Args) -> Exit {
    let described = match &args.btf {
        Some(path) => picture(path, "the kernel".to_owned()),
        None if args.live => {
            live::release().and_then(|release| picture(Path::new(btf::LIVE), format!("Linux {release}")))
        }
        None => {
            let profile = args.kernel.as_deref().map_or_else(Profile::newest, input::named);
            Ok(render(&layout(profile.release), Style::Color))
        }
    };
    match described {
        Ok(picture) => output::print(&picture, Exit::Success),
        Err(missing) => {
            eprintln!("mapcount: {missing}");
            Exit::Unavailable
        }
    }
}

/// The layout of `kernel` by the BTF in the file `path`.
fn picture(path: &Path, kernel: String) -> Result<String, Unavailable> {
    let btf = Btf::read(path)?;
    let source = path.display().to_string();
    let layout = mapcount_kernel::layout::layout(&btf, &kernel, &source)?;
    Ok(render(&layout, Style::Color))
}
