//! Short names for sets of kernels: `..4.4`, `4.5..6.1`, `6.15.., vma-count`, `all but 3.2`.

use std::collections::BTreeSet;

use mapcount_model::profile::Profile;
use unicode_width::UnicodeWidthStr;

/// A set of kernels: their places in the list of those that run.
pub(super) type Set = BTreeSet<usize>;

/// The longest name of a set of kernels that stands in one line with what is said of them.
pub(super) const LABEL: usize = 30;

/// Names the kernels of a run.
pub(super) struct KernelNames {
    names: Vec<String>,
    /// How many of them, from the first on, are releases in order, of which ranges may be named.
    releases: usize,
    /// The newest release with an option that changes how it counts: told with its release.
    option: Option<usize>,
    /// The first that no kernel has; all behind it are such.
    proposals: usize,
}

/// What all proposals are called.
const PROPOSALS: &str = "proposals";

impl KernelNames {
    /// Names `profiles`.
    pub(super) fn new(profiles: &[Profile]) -> KernelNames {
        let in_order = |pair: &[Profile]| is_release(&pair[1]) && pair[0].release < pair[1].release;
        let releases = match profiles.first() {
            Some(first) if is_release(first) => {
                1 + profiles.windows(2).take_while(|pair| in_order(pair)).count()
            }
            _ => 0,
        };
        // Of few kernels a range would say more than was run.
        let releases = if releases >= 8 { releases } else { 0 };
        let option = profiles.get(releases).filter(|next| releases > 0 && next.is_no_page_mapcount());
        let option = option.map(|_| releases);
        let proposal = |profile: &&Profile| profile.scheme.info().kernels.is_none();
        let proposals = profiles.len() - profiles.iter().rev().take_while(proposal).count();
        let name = |profile: &Profile| match option.is_some() && profile.is_no_page_mapcount() {
            true => profile.scheme.info().id.to_owned(),
            false => profile.name.clone(),
        };
        KernelNames { names: profiles.iter().map(name).collect(), releases, option, proposals }
    }

    /// `set` in parts that are named apart: kernels and proposals, unless it is all of `whole`.
    pub(super) fn parts(&self, set: &Set, whole: &Set) -> Vec<Set> {
        if set == whole || self.proposals == 0 {
            return vec![set.clone()];
        }
        let (kernels, proposals): (Set, Set) = set.iter().partition(|kernel| **kernel < self.proposals);
        [kernels, proposals].into_iter().filter(|part| !part.is_empty()).collect()
    }

    /// Whether the name of `set` fits in front of a line.
    pub(super) fn is_short(&self, set: &Set, all: &Set) -> bool {
        self.name(set, all).width() <= LABEL
    }

    /// The name of `set`, a part of `all`; empty if it is all.
    pub(super) fn name(&self, set: &Set, all: &Set) -> String {
        if set == all {
            return String::new();
        }
        let direct = self.list(set, all);
        // What is missing may be shorter to say: of all, or of the proposals alone.
        let proposals = set.iter().all(|kernel| *kernel >= self.proposals);
        let whole: Set =
            all.iter().copied().filter(|kernel| !proposals || *kernel >= self.proposals).collect();
        if whole == *set {
            return direct;
        }
        let rest = whole.difference(set).copied().collect();
        let complement =
            format!("{} but {}", if proposals { PROPOSALS } else { "all" }, self.list(&rest, all));
        if complement.width() + 4 < direct.width() { complement } else { direct }
    }

    /// The members of `set`, one by one or in ranges.
    pub(super) fn list(&self, set: &Set, all: &Set) -> String {
        let mut parts = Vec::new();
        let releases: Vec<usize> = all.iter().copied().filter(|kernel| *kernel < self.releases).collect();
        let mut at = 0;
        while at < releases.len() {
            if !set.contains(&releases[at]) {
                at += 1;
                continue;
            }
            let from = at;
            while releases.get(at + 1).is_some_and(|next| set.contains(next)) {
                at += 1;
            }
            parts.push(self.range(&releases, from, at));
            at += 1;
        }
        // A range without an end has the option in it, or else says so.
        let newest = set.contains(&self.releases.wrapping_sub(1));
        let option = self.option.filter(|option| all.contains(option));
        if let (Some(option), true) = (option, newest)
            && !set.contains(&option)
        {
            parts.push(format!("not {}", self.names[option]));
        }
        let silent = |kernel: &usize| option == Some(*kernel) && newest;
        let rest: Vec<usize> =
            set.iter().copied().filter(|kernel| *kernel >= self.releases && !silent(kernel)).collect();
        let proposals = all.iter().filter(|kernel| **kernel >= self.proposals).count();
        let (kernels, mine): (Vec<usize>, Vec<usize>) =
            rest.into_iter().partition(|kernel| *kernel < self.proposals);
        parts.extend(kernels.into_iter().map(|kernel| self.names[kernel].clone()));
        if proposals > 2 && mine.len() == proposals {
            parts.push(PROPOSALS.to_owned());
        } else {
            parts.extend(self.families(&mine));
        }
        parts.join(", ")
    }

    /// The members of `set` without a word about options.
    pub(super) fn members(&self, set: &Set) -> String {
        let all: Set = (0..self.names.len()).filter(|kernel| Some(*kernel) != self.option).collect();
        if set.iter().all(|kernel| Some(*kernel) == self.option) {
            return self.list(set, set);
        }
        self.list(set, &all)
    }

    /// `vma-count (and -by-entry)`: a variant is named by its suffix.
    fn families(&self, kernels: &[usize]) -> Vec<String> {
        let mut names: Vec<String> = Vec::new();
        let mut family: Option<&str> = None;
        for kernel in kernels {
            let name = &self.names[*kernel];
            let suffix =
                family.and_then(|family| name.strip_prefix(family)).filter(|end| end.starts_with('-'));
            match (suffix, names.last_mut()) {
                (Some(suffix), Some(last)) => last.push_str(&format!(" (and {suffix})")),
                _ => {
                    names.push(name.clone());
                    family = Some(name);
                }
            }
        }
        names
    }

    fn range(&self, releases: &[usize], from: usize, to: usize) -> String {
        let (first, last) = (&self.names[releases[from]], &self.names[releases[to]]);
        // Open ends mean the first and the last kernel that there is, not of those that are left.
        let (open, close) = (releases[from] == 0, releases[to] + 1 == self.releases);
        match (open, close) {
            (true, true) => "all kernels".to_owned(),
            (true, false) if from != to => format!("..{last}"),
            (false, true) if from != to => format!("{first}.."),
            _ if from == to => first.clone(),
            _ => format!("{first}..{last}"),
        }
    }
}

fn is_release(profile: &Profile) -> bool {
    !profile.is_no_page_mapcount() && profile.name != profile.scheme.info().id
}

#[cfg(test)]
mod tests {
    use mapcount_model::profile::Profile;

    use super::{KernelNames, Set};

    #[test]
    fn sets_have_short_names() {
        let mut profiles = Profile::all();
        profiles.push(Profile::resolve("vma-count").unwrap());
        let names = KernelNames::new(&profiles);
        let all: Set = (0..profiles.len()).collect();
        let of = |wanted: &dyn Fn(&Profile) -> bool| {
            let set: Set = all.iter().copied().filter(|kernel| wanted(&profiles[*kernel])).collect();
            names.name(&set, &all)
        };
        assert_eq!(of(&|_| true), "");
        assert_eq!(of(&|profile| profile.scheme.info().id == "double-map"), "4.5..6.1");
        assert_eq!(of(&|profile| profile.release.major < 4), "..3.8");
        assert_eq!(of(&|profile| profile.name != "vma-count"), "all kernels");
        assert_eq!(of(&|profile| profile.name != "4.5"), "all but 4.5");
        assert_eq!(of(&|profile| profile.release.major == 7), "7.0.., vma-count");
        assert_eq!(of(&|profile| profile.scheme.info().id == "mm-id"), "6.15.., not no-page-mapcount");
        assert_eq!(of(&|profile| profile.scheme.info().id == "no-page-mapcount"), "no-page-mapcount");
        assert_eq!(of(&|profile| profile.name == "4.5"), "4.5");
    }

    #[test]
    fn proposals_are_named_by_family() {
        let profiles: Vec<Profile> = ["7.3", "lazy-double-map", "vma-count", "vma-count-by-entry"]
            .map(|name| Profile::resolve(name).unwrap())
            .into();
        let names = KernelNames::new(&profiles);
        let all: Set = (0..4).collect();
        assert_eq!(names.name(&Set::from([2, 3]), &all), "vma-count (and -by-entry)");
        assert_eq!(names.name(&Set::from([1, 2, 3]), &all), "proposals");
        assert_eq!(names.parts(&Set::from([0, 1, 3]), &all), [Set::from([0]), Set::from([1, 3])]);
    }

    #[test]
    fn a_few_kernels_are_listed() {
        let profiles: Vec<Profile> =
            ["4.4", "5.10", "7.3-no-page-mapcount"].map(|name| Profile::resolve(name).unwrap()).into();
        let names = KernelNames::new(&profiles);
        let all: Set = (0..3).collect();
        assert_eq!(names.name(&Set::from([0, 1]), &all), "4.4, 5.10");
        assert_eq!(names.name(&Set::from([2]), &all), "7.3-no-page-mapcount");
    }
}
