//! What the names in a table mean.

use mapcount_model::field::Field;
use mapcount_model::profile::Profile;
use mapcount_model::units::{Folio, Kind, Order, Pfn};
use mapcount_script::run::Runner;

use super::change::logical_name;
use super::kernel_names::{KernelNames, Set};
use super::layout::Style;
use super::paint::{Lines, Phrase, Tone};

/// Fields of the slots, which a table that is not raw shows as two owners with their counts.
const SLOTS: [Field; 4] = [Field::MmId0, Field::MmId1, Field::MmIdMapcount0, Field::MmIdMapcount1];

/// The schemes of a run of several kernels, each with its kernels.
pub(super) fn schemes(out: &mut String, style: Style, names: &KernelNames, profiles: &[Profile]) {
    let all: Set = (0..profiles.len()).collect();
    let mut done: Vec<&str> = Vec::new();
    let mut lines = Lines::new(out, style, &[], 0);
    for profile in profiles {
        let info = profile.scheme.info();
        if done.contains(&info.id) {
            continue;
        }
        done.push(info.id);
        let same = |kernel: &usize| profiles[*kernel].scheme.info().id == info.id;
        let mine: Set = all.iter().copied().filter(same).collect();
        let kernels = names.members(&mine);
        let phrase = Phrase::new(Tone::Kernels, &kernels);
        let named = kernels == info.id;
        lines.push(&if named { phrase } else { phrase.then(Tone::Plain, info.id) }, 3);
    }
    lines.end();
}

/// The counters that the kernels of a run have for large folios. `runners` are those that are ready to run.
pub(super) fn counters<'r, 's: 'r>(
    out: &mut String,
    style: Style,
    raw: bool,
    runners: impl Iterator<Item = &'r Runner<'s>> + Clone,
) {
    for row in mapcount_model::field::TABLE {
        let having = runners.clone().filter(|runner| has(runner, row.field));
        let mut names: Vec<&str> = Vec::new();
        for runner in having {
            let name = row.field.kernel_name(runner.profile.release);
            if !names.contains(&name) {
                names.push(name);
            }
        }
        if names.is_empty() {
            continue;
        }
        let names = names.join(", ");
        let meaning = row.meaning.trim();
        match row.field {
            field if SLOTS.contains(&field) && !raw => {
                if field == Field::MmId0 {
                    let owner = "An address space that maps the folio, and how many entries it has";
                    entry(out, style, "slot0, slot1", 2, &format!("{owner} ({names} and so on)."));
                }
            }
            _ if raw => entry(out, style, &names, 2, meaning),
            field => {
                let plus = if row.initial == -1 { " + 1" } else { "" };
                let meaning = meaning.replacen(MINUS_ONE, "", 1).replacen("0x800000", "PMD (0x800000)", 1);
                entry(out, style, logical_name(field), 2, &format!("{meaning} ({names}{plus})"));
            }
        }
    }
}

/// What the meanings of counters that start at −1 say of it.
const MINUS_ONE: &str = ", minus one";

fn has(runner: &Runner<'_>, field: Field) -> bool {
    let folio = Folio { head: Pfn(0), order: Order(9), kind: Kind::Anon };
    runner.machine.has_field(folio, field)
}

/// Columns of the names.
const NAMES: usize = 20;

fn entry(out: &mut String, style: Style, name: &str, indent: usize, meaning: &str) {
    let name = format!("{:indent$}{name} ", "");
    let mut lines = Lines::new(out, style, &[(Tone::Heading, &name)], NAMES + indent);
    lines.push(&Phrase::new(Tone::Dim, meaning), 0);
    lines.end();
}

#[cfg(test)]
mod tests {
    use mapcount_model::field::TABLE;

    #[test]
    fn what_is_stored_less_one_says_so() {
        for row in TABLE.iter().filter(|row| !super::SLOTS.contains(&row.field)) {
            assert_eq!(row.meaning.contains(super::MINUS_ONE), row.initial == -1, "{}", row.key);
        }
    }
}
