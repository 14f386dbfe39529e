//! `mapcount explain`.

use super::Exit;

/// (to be written)
#[derive(Debug, clap::Args)]
pub(super) struct Args {}

pub(super) fn main(_args: &Args) -> Exit {
    Exit::Unavailable
}
