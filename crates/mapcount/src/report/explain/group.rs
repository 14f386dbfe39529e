//! Explanations of several kernels, those that are the same told once.

use crate::report::layout::Style;
use crate::report::text::{Mark, list, marked, paragraph, wrapped};

/// Explanations that are the same for several kernels.
pub struct Group {
    /// The kernels.
    pub kernels: Vec<String>,
    /// The answer in a few words; empty where there is none.
    pub headline: String,
    /// The rest, or why there is no answer.
    pub body: String,
}

/// Groups of kernels that give the same answer for the same reasons, in the order of their first kernel.
pub fn grouped(items: impl IntoIterator<Item = (String, String, String)>) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for (kernel, headline, body) in items {
        match groups.iter_mut().find(|group| group.headline == headline && group.body == body) {
            Some(group) => group.kernels.push(kernel),
            None => groups.push(Group { kernels: vec![kernel], headline, body }),
        }
    }
    groups
}

/// The groups below each other, under the line that says what they are about.
pub fn render(about: &str, groups: &[Group], style: Style) -> String {
    let mut out = String::new();
    paragraph(&mut out, "", "  ", about);
    for group in groups {
        out.push('\n');
        let kernels = list(&group.kernels);
        if group.headline.is_empty() {
            paragraph(&mut out, "", "  ", &format!("{kernels}: {}", group.body));
            continue;
        }
        for line in wrapped("", "  ", &format!("{} on {kernels}", group.headline)) {
            out.push_str(&marked(style, Mark::Answer, &line));
            out.push('\n');
        }
        out.push_str(&group.body);
    }
    out
}
