//! The directory of the journal: its lock, its name, its files.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use super::disk::Disk;
use super::segment::{Segment, cannot};
use crate::Error;

/// A directory that this process alone uses for as long as the value lives.
#[derive(Debug)]
pub(super) struct Directory {
    pub(super) path: PathBuf,
    pub(super) disk: Disk,
    _lock: File,
}

impl Directory {
    /// Makes the directory if there is none, and takes its lock.
    pub(super) fn open(path: &Path, disk: Disk) -> Result<Directory, Error> {
        let mut builder = DirBuilder::new();
        builder.recursive(true);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(path).map_err(|source| cannot("make", path, source))?;

        let lock_path = path.join("lock");
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(false);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let lock = options.open(&lock_path).map_err(|source| cannot("open", &lock_path, source))?;
        match lock.try_lock() {
            Ok(()) => Ok(Directory { path: path.to_owned(), disk, _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(Error::Conflict("another gateway uses this data directory")),
            Err(TryLockError::Error(source)) => Err(cannot("lock", &lock_path, source)),
        }
    }

    /// The random name under which the database knows this directory; made with the directory.
    pub(super) fn instance(&self, segments: &[u64]) -> Result<String, Error> {
        let path = self.path.join("instance");
        match fs::read_to_string(&path) {
            Ok(text) => {
                let name = text.trim_end();
                let is_whole = name.len() == 16 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
                if is_whole { Ok(name.to_owned()) } else { Err(corrupt(&path, "does not hold 16 hex digits")) }
            }
            // Under another name the database would take every entry for a new one.
            Err(error) if error.kind() == io::ErrorKind::NotFound && !segments.is_empty() => {
                Err(corrupt(&path, "is gone, but not the journal that it names"))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => self.name_it(&path),
            Err(source) => Err(cannot("read", &path, source)),
        }
    }

    fn name_it(&self, path: &Path) -> Result<String, Error> {
        let name = format!("{:016x}", fastrand::u64(..));
        let draft = self.path.join("instance.new");
        let write = || {
            if draft.exists() {
                self.disk.remove(&draft)?;
            }
            let file = self.disk.create(&draft)?;
            self.disk.write(&file, format!("{name}\n").as_bytes())?;
            self.disk.sync(&file)?;
            self.disk.rename(&draft, path)?;
            self.disk.sync_directory(&self.path)
        };
        write().map_err(|source| cannot("write", path, source))?;
        Ok(name)
    }

    /// The numbers of the segments, rising.
    pub(super) fn segments(&self) -> Result<Vec<u64>, Error> {
        let list = || {
            let mut numbers = Vec::new();
            for file in fs::read_dir(&self.path)? {
                let name = file?.file_name();
                let digits = name.to_str().and_then(|name| name.strip_suffix(SUFFIX));
                let number = digits.and_then(|digits| digits.parse::<u32>().ok()).map(u64::from);
                numbers.extend(number.filter(|&number| self.path_of(number).file_name() == Some(&name)));
            }
            numbers.sort_unstable();
            Ok(numbers)
        };
        list().map_err(|source| cannot("list", &self.path, source))
    }

    /// Where a segment is.
    pub(super) fn path_of(&self, segment: u64) -> PathBuf {
        self.path.join(format!("{segment:08}{SUFFIX}"))
    }

    /// Makes an empty segment. Its name is not yet safe from a power cut.
    pub(super) fn create(&self, segment: u64) -> Result<Segment, Error> {
        let path = self.path_of(segment);
        let file = self.disk.create(&path).map_err(|source| cannot("create", &path, source))?;
        Ok(Segment::new(segment, path, file))
    }

    /// Removes a segment. After a power cut it can be there again.
    pub(super) fn remove(&self, segment: u64) -> Result<(), Error> {
        let path = self.path_of(segment);
        self.disk.remove(&path).map_err(|source| cannot("remove", &path, source))
    }

    /// Makes the names safe from a power cut.
    pub(super) fn sync(&self) -> Result<(), Error> {
        self.disk.sync_directory(&self.path).map_err(|source| cannot("sync", &self.path, source))
    }
}

/// The error for a file whose content makes no sense.
pub(super) fn corrupt(path: &Path, what: &str) -> Error {
    Error::Corrupt { what: format!("`{}` {what}", path.display()) }
}

const SUFFIX: &str = ".journal";
