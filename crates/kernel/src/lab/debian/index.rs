//! What the archive's indexes say about kernels: `InRelease` names the indexes and their checksums, `Packages`
//! the packages and theirs.

use std::io::BufRead;

use super::version::compare;

/// A package with a kernel's image in it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Package {
    /// The kernel's release: `6.12.107+deb13-cloud-amd64`.
    pub(super) release: String,
    /// The package's version.
    pub(super) version: String,
    /// Where it is on the server.
    pub(super) path: String,
    /// SHA-256 of the package, in hexadecimal.
    pub(super) sha256: String,
}

/// The checksum of `path` in the text of an `InRelease`.
pub(super) fn checksum(in_release: &str, path: &str) -> Option<String> {
    let section = in_release.lines().skip_while(|line| *line != "SHA256:").skip(1);
    let mut lines = section.take_while(|line| line.starts_with(' ')).map(str::split_whitespace);
    let found = lines.find_map(|mut words| {
        let sum = words.next()?;
        (words.nth(1)? == path).then_some(sum)
    });
    found.filter(|sum| is_sha256(sum)).map(str::to_owned)
}

fn is_sha256(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// The packages of kernels for x86-64 that `packages` has.
///
/// A kernel's image is in `linux-binary-RELEASE` where there is one (since 7.0), else in
/// `linux-image-RELEASE`.
///
/// # Errors
/// Where it cannot be read.
pub(super) fn kernels(packages: impl BufRead) -> std::io::Result<Vec<Package>> {
    let mut binaries = Vec::new();
    let mut images = Vec::new();
    let mut fields = Fields::default();
    // A last empty line ends the last paragraph.
    for line in packages.split(b'\n').chain([Ok(Vec::new())]) {
        let line = line?;
        let line = String::from_utf8_lossy(&line);
        if !line.trim_end().is_empty() {
            fields.read(&line);
            continue;
        }
        match std::mem::take(&mut fields).package() {
            Some((Kind::Binary, package)) => binaries.push(package),
            Some((Kind::Image, package)) => images.push(package),
            None => {}
        }
    }
    images.retain(|image: &Package| !binaries.iter().any(|binary: &Package| binary.release == image.release));
    binaries.extend(images);
    Ok(binaries)
}

enum Kind {
    Binary,
    Image,
}

/// The fields of a paragraph that are asked for.
#[derive(Default)]
struct Fields {
    name: String,
    version: String,
    path: String,
    size: u64,
    sha256: String,
}

impl Fields {
    fn read(&mut self, line: &str) {
        let Some((key, value)) = line.split_once(": ") else { return };
        let value = value.trim();
        match key {
            "Package" => value.clone_into(&mut self.name),
            "Version" => value.clone_into(&mut self.version),
            "Filename" => value.clone_into(&mut self.path),
            "Size" => self.size = value.parse().unwrap_or(0),
            "SHA256" => value.clone_into(&mut self.sha256),
            _ => {}
        }
    }

    fn package(self) -> Option<(Kind, Package)> {
        /// A package that only depends on others, as `linux-image-6.12-cloud-amd64` does, is shorter.
        const SHORTEST: u64 = 1 << 20;
        let binary = self.name.strip_prefix("linux-binary-").map(|release| (Kind::Binary, release));
        let image = || self.name.strip_prefix("linux-image-").map(|release| (Kind::Image, release));
        let (kind, release) = binary.or_else(image)?;
        // Unsigned packages end with -unsigned; those with debug information with -dbg.
        let is_kernel = release.starts_with(|c: char| c.is_ascii_digit()) && release.ends_with("amd64");
        let is_path = !self.path.is_empty() && !self.path.contains("..") && !self.version.is_empty();
        if !is_kernel || !is_path || self.size < SHORTEST || !is_sha256(&self.sha256) {
            return None;
        }
        let release = release.to_owned();
        Some((kind, Package { release, version: self.version, path: self.path, sha256: self.sha256 }))
    }
}

/// Whether a kernel of this release is meant by `wanted`: a release in full, or its beginning (`6.12`,
/// `5.10.0-32`), which means kernels for clouds, because they have no more drivers than a guest needs.
pub(super) fn is_meant(release: &str, wanted: &str) -> bool {
    let rest = release.strip_prefix(wanted);
    let ends_there = |rest: &str| rest.starts_with(|c: char| !c.is_ascii_alphanumeric());
    release == wanted || (release.ends_with("-cloud-amd64") && rest.is_some_and(ends_there))
}

/// The newest of the packages that `wanted` means.
pub(super) fn newest<'a>(packages: impl Iterator<Item = &'a Package>, wanted: &str) -> Option<&'a Package> {
    let meant = packages.filter(|package| is_meant(&package.release, wanted));
    // Releases decide between packages of one version, so that the answer is always the same.
    meant.max_by(|a, b| compare(&a.version, &b.version).then_with(|| a.release.cmp(&b.release)))
}

#[cfg(test)]
mod tests {
    use super::{Package, checksum, is_meant, kernels, newest};

    const SUM: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    fn paragraph(name: &str, version: &str, size: u64) -> String {
        format!(
            "Package: {name}\nVersion: {version}\nDescription: a: b\n continued\nFilename: pool/{name}.deb\n\
             Size: {size}\nSHA256: {SUM}\n\n"
        )
    }

    fn index() -> Vec<Package> {
        let whole = 20 << 20;
        let text = [
            paragraph("apt", "2.6", whole),
            paragraph("linux-image-6.1.0-54-cloud-amd64", "6.1.190-1", whole),
            paragraph("linux-image-6.1.0-9-cloud-amd64", "6.1.27-1", whole),
            paragraph("linux-image-6.1.0-55-amd64", "6.1.191-1", whole),
            paragraph("linux-image-6.1.0-56-cloud-amd64-unsigned", "6.1.192-1", whole),
            paragraph("linux-image-6.12-cloud-amd64", "6.12.200-1", 2000),
            paragraph("linux-image-6.12.107+deb13-cloud-amd64", "6.12.107-1", whole),
            paragraph("linux-image-7.2.12+deb13-cloud-amd64", "7.2.12-1", whole),
            paragraph("linux-binary-7.2.12+deb13-cloud-amd64", "7.2.12-1", whole),
            paragraph("linux-image-6.12.108+deb13-cloud-arm64", "6.12.108-1", whole),
        ];
        kernels(text.concat().trim_end().as_bytes()).expect("readable")
    }

    #[test]
    fn kernels_are_found_with_the_package_that_has_the_image() {
        let index = index();
        let paths: Vec<&str> = index.iter().map(|package| &package.path[..]).collect();
        let expected = [
            "pool/linux-binary-7.2.12+deb13-cloud-amd64.deb",
            "pool/linux-image-6.1.0-54-cloud-amd64.deb",
            "pool/linux-image-6.1.0-9-cloud-amd64.deb",
            "pool/linux-image-6.1.0-55-amd64.deb",
            "pool/linux-image-6.12.107+deb13-cloud-amd64.deb",
        ];
        assert_eq!(paths, expected);
    }

    #[test]
    fn the_newest_that_is_meant_is_taken() {
        let index = index();
        let release = |wanted: &str| newest(index.iter(), wanted).map(|package| &package.release[..]);
        assert_eq!(release("6.1"), Some("6.1.0-54-cloud-amd64"));
        assert_eq!(release("6.1.0-9"), Some("6.1.0-9-cloud-amd64"));
        assert_eq!(release("6.1.0-55-amd64"), Some("6.1.0-55-amd64"));
        assert_eq!(release("6.12"), Some("6.12.107+deb13-cloud-amd64"));
        assert_eq!(release("7"), Some("7.2.12+deb13-cloud-amd64"));
        assert_eq!(release("6.1.0-5"), None);
        assert_eq!(release("6.13"), None);
        assert!(!is_meant("6.12.1-cloud-amd64", "6.1"));
    }

    #[test]
    fn a_checksum_is_that_of_the_path_in_full_and_in_its_section() {
        let text = format!(
            "Suite: x\nMD5Sum:\n {} 5 main/a\nSHA256:\n {SUM} 7 main/a.xz\n {SUM} 9 main/a\nSHA512:\n x 5 main/b\n",
            "f".repeat(32)
        );
        assert_eq!(checksum(&text, "main/a").as_deref(), Some(SUM));
        assert_eq!(checksum(&text, "main/b"), None);
        assert_eq!(checksum("", "main/a"), None);
    }

    #[test]
    fn broken_indexes_give_fewer_packages_and_no_panic() {
        for text in ["", "\n\n\n", "Package", "Package: linux-image-6.1-amd64", ": \n: x\n", "Size: -1\n\n"] {
            assert_eq!(kernels(text.as_bytes()).expect("readable"), []);
        }
        assert_eq!(kernels(&[0xff; 300][..]).expect("readable"), []);
    }
}
