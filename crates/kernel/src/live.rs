//! The kernel that runs this machine: its release, how it was configured, and how it counts.

mod config;
mod probe;

use std::fs;

use mapcount_model::field::Field;
use mapcount_model::policy::Policy;
use mapcount_model::profile::{NO_PAGE_MAPCOUNT, Profile};
use mapcount_model::scheme::{self, Scheme};

use crate::Unavailable;
use crate::bpf::Bpf;
use crate::btf::Btf;
use crate::fields::Fields;
use crate::memory::Memory;
use crate::objects::Objects;
use crate::vmemmap;

/// The release whose behaviour this kernel has: that of uname -r, with the level of fixes where Debian tells it
/// (`#1 SMP Debian 5.10.251-1 (…)` in uname -v), whose uname -r says 5.10.0-46.
///
/// # Errors
/// Without procfs.
pub fn patched_release() -> Result<String, Unavailable> {
    let release = release()?;
    let version = fs::read_to_string("/proc/sys/kernel/version").unwrap_or_default();
    Ok(patch_level(&release, &version).unwrap_or(release))
}

/// `5.10.251` of `5.10.0-46-cloud-amd64` and `#1 SMP Debian 5.10.251-1 (2026-01-02)`.
fn patch_level(release: &str, version: &str) -> Option<String> {
    let (series, rest) = release.split_once(".0-")?;
    let source = version.split_once("Debian ")?.1.split(['-', '+', '~', ' ']).next()?;
    let flavour = rest.ends_with("no-page-mapcount");
    (!flavour && source.strip_prefix(series)?.starts_with('.')).then(|| source.to_owned())
}

/// The release of this kernel, as uname -r prints it.
///
/// # Errors
/// Without procfs.
pub fn release() -> Result<String, Unavailable> {
    const PATH: &str = "/proc/sys/kernel/osrelease";
    fs::read_to_string(PATH)
        .map(|text| text.trim().to_owned())
        .map_err(|error| Unavailable::new(format!("{PATH}: {error}"), "mount procfs on /proc"))
}

/// The model's profile of this kernel: the policy of its release, and the scheme that its structures, its
/// configuration and, where those cannot tell, a probe give evidence of.
///
/// # Errors
/// Where the release is not modelled, or nothing tells the scheme.
pub fn profile() -> Result<Profile, Unavailable> {
    let release = patched_release()?;
    let resolved = Profile::resolve(&release).map_err(|error| {
        Unavailable::new(
            format!("this kernel is not modelled: {error}"),
            "use a kernel that `mapcount kernels` lists",
        )
    })?;
    let scheme = match Btf::live().and_then(|btf| Ok((Fields::of(&btf)?, btf))) {
        Ok((fields, btf)) => match told(&fields, &release) {
            Some(scheme) => scheme,
            None => {
                let mut bpf = Bpf::load()?;
                let base = vmemmap::find(&mut bpf, &fields, Objects::of(&btf).as_ref(), &[])?;
                scheme_of(&fields, &release, &mut bpf, base)?
            }
        },
        // Without BTF the release has to do, and the configuration for the option that came with 6.15.
        Err(_) if resolved.scheme.info().fields.contains(&Field::MmId0) => {
            let is_on = config::option(OPTION, &release).unwrap_or(false);
            if is_on { without_page_mapcounts(resolved.scheme) } else { resolved.scheme }
        }
        Err(_) => resolved.scheme,
    };
    let changes = scheme.info().id == "no-page-mapcount" && !release.ends_with(NO_PAGE_MAPCOUNT);
    let name = if changes { format!("{release}{NO_PAGE_MAPCOUNT}") } else { release };
    let policy = with_generations(resolved.policy, lru_generations());
    Ok(Profile { name, scheme, policy, ..resolved })
}

/// Whether the kernel's LRU has generations, which are an option and can be switched (6.1 on).
fn lru_generations() -> bool {
    let enabled = std::fs::read_to_string("/sys/kernel/mm/lru_gen/enabled").unwrap_or_default();
    let number = enabled.trim().strip_prefix("0x").and_then(|digits| u32::from_str_radix(digits, 16).ok());
    number.is_some_and(|bits| bits & 1 != 0)
}

/// The policy of a kernel whose LRU has generations or not, whatever Debian's kernels of that release have.
fn with_generations(policy: Policy, generations: bool) -> Policy {
    // It is for their sake that a fault calls a folio accessed (`folio_add_lru()`, mm/swap.c, v7.2).
    let born_referenced = policy.folios_are_born_referenced && generations;
    Policy { lru_generations: generations, folios_are_born_referenced: born_referenced, ..policy }
}

/// The option that makes a kernel count by another scheme without changing its structures.
const OPTION: &str = "NO_PAGE_MAPCOUNT";

/// The scheme of the live kernel, whose structures have `fields`.
///
/// # Errors
/// If nothing tells it.
pub(crate) fn scheme(
    fields: &Fields,
    memory: &mut dyn Memory,
    base: u64,
) -> Result<&'static dyn Scheme, Unavailable> {
    scheme_of(fields, &release()?, memory, base)
}

fn scheme_of(
    fields: &Fields,
    release: &str,
    memory: &mut dyn Memory,
    base: u64,
) -> Result<&'static dyn Scheme, Unavailable> {
    if let Some(scheme) = told(fields, release) {
        return Ok(scheme);
    }
    let found = by_members(fields).ok_or_else(|| {
        Unavailable::new(
            "this kernel's struct page has counters of no known scheme",
            "use a kernel that `mapcount kernels` lists",
        )
    })?;
    match probe::has_page_mapcounts(fields, memory, base)? {
        Some(true) => Ok(found),
        Some(false) => Ok(without_page_mapcounts(found)),
        None => Err(Unavailable::new(
            "whether this kernel was built with CONFIG_NO_PAGE_MAPCOUNT cannot be told",
            "allow THP (echo madvise > /sys/kernel/mm/transparent_hugepage/enabled), or use a kernel with \
             CONFIG_IKCONFIG_PROC=y",
        )),
    }
}

/// The scheme by members, and by the configuration where members leave it open.
fn told(fields: &Fields, release: &str) -> Option<&'static dyn Scheme> {
    let found = by_members(fields)?;
    if !found.info().fields.contains(&Field::MmId0) {
        return Some(found);
    }
    let is_on = config::option(OPTION, release)?;
    Some(if is_on { without_page_mapcounts(found) } else { found })
}

/// The counters by whose presence schemes can be told apart.
const TELLING: [Field; 4] = [Field::EntireMapcount, Field::NrPagesMapped, Field::LargeMapcount, Field::MmId0];

/// The scheme of kernels with just the counters that are there.
pub(crate) fn by_members(fields: &Fields) -> Option<&'static dyn Scheme> {
    let is_it = |scheme: &&'static dyn Scheme| {
        let info = scheme.info();
        let same = |field: &Field| fields.has(*field) == info.fields.contains(field);
        info.kernels.is_some() && TELLING.iter().all(same)
    };
    // Kernels without any of these were before BTF; their structures would not tell the first from the second.
    scheme::ALL.iter().copied().filter(is_it).find(|scheme| !scheme.info().fields.is_empty())
}

/// The scheme of a kernel with the structures of `scheme` but without counts of pages of large folios.
fn without_page_mapcounts(scheme: &'static dyn Scheme) -> &'static dyn Scheme {
    scheme::by_id("no-page-mapcount").unwrap_or(scheme)
}

#[cfg(test)]
mod tests {
    use super::{by_members, patch_level, profile};
    use crate::btf::Btf;
    use crate::fields::Fields;
    use crate::require;

    #[test]
    fn debian_tells_the_level_of_fixes() {
        let level = |release, version| patch_level(release, version);
        let version = "#1 SMP Debian 5.10.251-1 (2026-01-02)";
        assert_eq!(level("5.10.0-46-cloud-amd64", version).as_deref(), Some("5.10.251"));
        assert_eq!(level("6.1.0-56-cloud-amd64", version), None, "another series");
        assert_eq!(level("6.18.44-fc", "#1 SMP PREEMPT_DYNAMIC"), None);
    }

    #[test]
    fn the_live_kernels_scheme_is_that_of_its_release_or_its_option() {
        let Some(profile) = require::or_skip("live profile", profile()) else { return };
        let by_release = mapcount_model::profile::Profile::resolve(&profile.name).expect("a kernel");
        assert_eq!(profile.scheme.info().id, by_release.scheme.info().id);
        if let Ok(btf) = Btf::live() {
            let fields = Fields::of(&btf).expect("a live kernel");
            assert!(by_members(&fields).is_some());
        }
    }
}
