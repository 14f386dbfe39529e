//! What a guest is to do: written into its initramfs, read by the first process there.

/// Where the guest finds this program.
pub(super) const PROGRAM: &str = "/bin/mapcount";
/// Where its libraries are.
pub(super) const LIBRARIES: &str = "/lib/mapcount";
/// Where the guest finds its job.
pub(super) const PATH: &str = "/job";
/// Where the guest finds what the command reads from its standard input.
pub(super) const STDIN: &str = "/job.stdin";

/// A command, and where it runs.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Job {
    /// The words behind the program's name.
    pub arguments: Vec<String>,
    /// The working directory: an absolute path, the same in the guest as here, so that paths mean the same.
    pub folder: String,
    /// Variables of the environment.
    pub environment: Vec<(String, String)>,
}

impl Job {
    /// A field a record: its letter, its text, and a zero byte.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let mut record = |kind: u8, text: &str| {
            out.push(kind);
            out.extend_from_slice(text.as_bytes());
            out.push(0);
        };
        record(b'd', &self.folder);
        for (name, value) in &self.environment {
            record(b'e', &format!("{name}={value}"));
        }
        for argument in &self.arguments {
            record(b'a', argument);
        }
        out
    }

    /// The job in `bytes`.
    ///
    /// # Errors
    /// What in it is no job.
    pub(super) fn read(bytes: &[u8]) -> Result<Job, String> {
        let mut job = Job::default();
        let text = std::str::from_utf8(bytes).map_err(|error| error.to_string())?;
        let records = text.strip_suffix('\0').ok_or("its end is missing")?.split('\0');
        for record in records {
            let (kind, text) = record.split_at_checked(1).ok_or("an empty record")?;
            match kind {
                "d" => text.clone_into(&mut job.folder),
                "a" => job.arguments.push(text.to_owned()),
                "e" => {
                    let (name, value) = text.split_once('=').ok_or("a variable without a value")?;
                    job.environment.push((name.to_owned(), value.to_owned()));
                }
                _ => return Err(format!("the unknown record `{kind}`")),
            }
        }
        Ok(job)
    }
}

#[cfg(test)]
mod tests {
    use super::Job;

    #[test]
    fn a_job_is_read_as_it_was_written() {
        let job = Job {
            arguments: vec!["run".to_owned(), String::new(), "a file.mc".to_owned()],
            folder: "/some/where".to_owned(),
            environment: vec![("NO_COLOR".to_owned(), "a=b".to_owned())],
        };
        let bytes = job.to_bytes();
        assert_eq!(Job::read(&bytes), Ok(job));
        assert!(Job::read(&bytes[..bytes.len() - 1]).is_err());
        assert!(Job::read(b"x\0").is_err());
        assert!(Job::read(b"").is_err());
    }
}
