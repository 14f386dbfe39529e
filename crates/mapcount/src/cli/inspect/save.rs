//! Files that are there whole or as they were before.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::Path;

/// Writes a file under another name beside it and gives it its name at the end. What is no file (a device, a pipe) is
/// written to as it is; a link stays one.
///
/// # Errors
/// If that fails; then the file is as it was.
pub(super) fn whole(path: &Path, text: &str) -> io::Result<()> {
    let (path, before) = match fs::canonicalize(path).and_then(|path| Ok((fs::metadata(&path)?, path))) {
        Ok((metadata, path)) if metadata.is_file() => (path, Some(metadata.permissions())),
        Ok((metadata, _)) if metadata.is_dir() => return Err(io::Error::from(io::ErrorKind::IsADirectory)),
        Ok((_, path)) => return OpenOptions::new().write(true).open(path)?.write_all(text.as_bytes()),
        Err(_) => (path.to_owned(), None),
    };
    let name = path.file_name().ok_or_else(|| io::Error::from(io::ErrorKind::IsADirectory))?;
    let mut beside = name.to_owned();
    beside.push(format!(".{}.part", std::process::id()));
    let beside = path.with_file_name(beside);
    let write = |mut file: File| {
        if let Some(permissions) = before {
            file.set_permissions(permissions)?;
        }
        file.write_all(text.as_bytes())?;
        file.sync_all()
    };
    let written = File::create(&beside).and_then(write).and_then(|()| fs::rename(&beside, &path));
    if written.is_err() {
        // It may not have been made at all.
        let _ = fs::remove_file(&beside);
    }
    written
}

#[cfg(test)]
mod tests {
    use super::whole;

    #[test]
    fn a_file_is_replaced_and_a_failure_leaves_nothing() {
        let folder = std::env::temp_dir().join(format!("mapcount-save-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        let path = folder.join("report");
        whole(&path, "one").expect("written");
        whole(&path, "two").expect("written");
        assert_eq!(std::fs::read_to_string(&path).expect("there"), "two");
        assert!(whole(&folder, "x").is_err(), "a folder is no file");
        assert!(whole(&folder.join("none/report"), "x").is_err());
        assert_eq!(std::fs::read_dir(&folder).expect("a folder").count(), 1);
        std::fs::remove_dir_all(&folder).expect("removed");
    }

    #[test]
    fn links_and_devices_stay_what_they_are() {
        use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
        let folder = std::env::temp_dir().join(format!("mapcount-save-links-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        let (path, link) = (folder.join("report"), folder.join("link"));
        whole(&path, "one").expect("written");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).expect("ours");
        std::os::unix::fs::symlink("report", &link).expect("a link");
        whole(&link, "two").expect("written");
        assert!(std::fs::symlink_metadata(&link).expect("there").is_symlink());
        assert_eq!(std::fs::read_to_string(&path).expect("there"), "two");
        let mode = std::fs::metadata(&path).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let full = std::path::Path::new("/dev/full");
        assert_eq!(whole(full, "x").expect_err("no room").raw_os_error(), Some(28));
        assert!(std::fs::metadata(full).expect("there").file_type().is_char_device());
        std::fs::remove_dir_all(&folder).expect("removed");
    }
}
