//! The kernel that runs this machine: its release, how it was configured, and how it counts.

use mapcount_model::profile::Profile;

use crate::Unavailable;

/// The model's profile of this kernel: the policy of its release, and the scheme that its structures, its
/// configuration and, where those cannot tell, a probe give evidence of.
///
/// # Errors
/// Where the release is not modelled, or nothing tells the scheme.
pub fn profile() -> Result<Profile, Unavailable> {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").map_err(|error| {
        Unavailable::new(format!("/proc/sys/kernel/osrelease: {error}"), "mount procfs on /proc")
    })?;
    Profile::resolve(release.trim())
        .map_err(|error| Unavailable::new(error.to_string(), "run a kernel that is modelled"))
}
