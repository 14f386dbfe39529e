//! `mapcount layout`.

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
}

pub(super) fn main(args: &Args) -> Exit {
    let profile = args.kernel.as_deref().map_or_else(Profile::newest, input::named);
    output::print(&render(&layout(profile.release), Style::Color), Exit::Success)
}
