//! Short names for sets of kernels: `..4.4`, `4.5..6.1`, `6.15.., vma-count`, `all but 3.2`.

use std::collections::BTreeSet;

use mapcount_model::profile::Profile;
use unicode_width::UnicodeWidthStr;

/// A set of kernels: their places in the list of those that run.
pub(super) type Set = BTreeSet<usize>;

/// Names the kernels of a run.
pub(super) struct KernelNames {
    names: Vec<String>,
    /// How many of them, from the first on, are releases in order, of which ranges may be named.
    releases: usize,
}

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
        let name = |profile: &Profile| match profile.is_no_page_mapcount() && profiles.len() > 8 {
            true => profile.scheme.info().id.to_owned(),
            false => profile.name.clone(),
        };
        KernelNames { names: profiles.iter().map(name).collect(), releases }
    }

    /// The name of `set`, a part of `all`; empty if it is all.
    pub(super) fn name(&self, set: &Set, all: &Set) -> String {
        if set == all {
            return String::new();
        }
        let direct = self.list(set, all);
        let rest: Set = all.difference(set).copied().collect();
        let complement = format!("all but {}", self.list(&rest, all));
        if complement.width() < direct.width() { complement } else { direct }
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
        parts.extend(
            set.iter().filter(|kernel| **kernel >= self.releases).map(|kernel| self.names[*kernel].clone()),
        );
        parts.join(", ")
    }

    fn range(&self, releases: &[usize], from: usize, to: usize) -> String {
        let (first, last) = (&self.names[releases[from]], &self.names[releases[to]]);
        // Open ends mean the first and the last kernel that there is, not of those that are left.
        let (open, close) = (releases[from] == 0, releases[to] + 1 == self.releases);
        match (open, close) {
            (true, true) => "all releases".to_owned(),
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
        assert_eq!(of(&|profile| profile.name != "vma-count"), "all but vma-count");
        assert_eq!(of(&|profile| profile.release.major == 7), "7.0.., no-page-mapcount, vma-count");
        assert_eq!(of(&|profile| profile.name == "4.5"), "4.5");
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
