//! `mapcount schemes`.

use mapcount_model::scheme::{self, Scheme};
use mapcount_script::diagnostic::closest;

use super::{Exit, output};
use crate::report::layout::Style;
use crate::report::schemes::{fields, one, table};

/// List the schemes of counting, or tell one in full.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Schemes to tell in full: their fields, equations, laws, and what they cannot do.
    #[arg(value_name = "ID", value_parser = known)]
    ids: Vec<&'static str>,
    /// Tell instead every counter and flag that is modelled: what it counts, and the kernels' names for it.
    #[arg(long, conflicts_with = "ids")]
    fields: bool,
}

fn known(id: &str) -> Result<&'static str, String> {
    let ids: Vec<&'static str> = scheme::ALL.iter().map(|scheme| scheme.info().id).collect();
    if let Some(known) = ids.iter().find(|known| **known == id) {
        return Ok(known);
    }
    match closest(id, ids.iter().copied()) {
        Some(close) => Err(format!("did you mean `{close}`?")),
        None => Err(format!("schemes are {}", ids.join(", "))),
    }
}

pub(super) fn main(args: &Args) -> Exit {
    let style = Style::Color;
    let text = if args.fields {
        fields(style)
    } else if args.ids.is_empty() {
        table(style)
    } else {
        let schemes = args.ids.iter().filter_map(|id| scheme::by_id(id));
        schemes.map(|scheme: &dyn Scheme| one(scheme, style)).collect::<Vec<_>>().join("\n")
    };
    output::print(&text, Exit::Success)
}
