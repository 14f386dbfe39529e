//! `mapcount kernels`.

use mapcount_model::profile::Profile;

use super::{Exit, input, output};
use crate::report::kernels::{one, policy, table};
use crate::report::layout::Style;

/// List the modelled kernels, or tell how names resolve and what those kernels do.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Kernels (4.6, 6.17.3, 7.2-no-page-mapcount) or schemes; without any, all modelled releases are listed.
    #[arg(value_name = "K", value_parser = input::kernel_name)]
    kernels: Vec<String>,
    /// Of each kernel show everything that it does, with the release that began it and where that was read
    /// [of the newest kernel if none is named].
    #[arg(long)]
    policy: bool,
}

pub(super) fn main(args: &Args) -> Exit {
    let mut kernels: Vec<Profile> = args.kernels.iter().map(|name| input::named(name)).collect();
    if kernels.is_empty() && !args.policy {
        return output::print(&table(&Profile::all(), Style::Color), Exit::Success);
    }
    if kernels.is_empty() {
        kernels.push(Profile::newest());
    }
    let told: Vec<String> = kernels
        .iter()
        .map(|profile| {
            let mut text = one(profile, Style::Color);
            if args.policy {
                text.push_str(&policy(profile, Style::Color));
            }
            text
        })
        .collect();
    output::print(&told.join("\n"), Exit::Success)
}
