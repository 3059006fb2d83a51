//! The calls that change the disk, in one place, so that a test can make each of them fail.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

/// The disk.
#[derive(Debug, Default)]
pub(super) struct Disk {
    #[cfg(test)]
    pub(super) faults: faults::Faults,
}

impl Disk {
    /// Makes a file that only we can read, and that every write appends to.
    pub(super) fn create(&self, path: &Path) -> io::Result<File> {
        #[cfg(test)]
        self.faults.strike()?;
        let mut options = OpenOptions::new();
        options.append(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        options.open(path)
    }

    /// Appends all of it, or fails having appended any part of it.
    pub(super) fn write(&self, mut file: &File, bytes: &[u8]) -> io::Result<()> {
        #[cfg(test)]
        if let Err(error) = self.faults.strike() {
            file.write_all(&bytes[..self.faults.part_of(bytes.len())])?;
            return Err(error);
        }
        file.write_all(bytes)
    }

    /// Cuts a file off.
    pub(super) fn truncate(&self, file: &File, bytes: u64) -> io::Result<()> {
        #[cfg(test)]
        self.faults.strike()?;
        file.set_len(bytes)
    }

    /// Waits until what was written would survive a power cut.
    pub(super) fn sync(&self, file: &File) -> io::Result<()> {
        #[cfg(test)]
        if self.faults.strike_sync()? {
            return Ok(());
        }
        file.sync_data()
    }

    /// As [`Disk::sync`], for the names in a directory.
    pub(super) fn sync_directory(&self, path: &Path) -> io::Result<()> {
        #[cfg(test)]
        if self.faults.strike_sync()? {
            return Ok(());
        }
        // Other systems have no such call.
        if cfg!(unix) { File::open(path)?.sync_all() } else { Ok(()) }
    }

    /// Gives a file another name.
    pub(super) fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        #[cfg(test)]
        self.faults.strike()?;
        fs::rename(from, to)
    }

    /// Removes a file.
    pub(super) fn remove(&self, path: &Path) -> io::Result<()> {
        #[cfg(test)]
        self.faults.strike()?;
        fs::remove_file(path)
    }
}

#[cfg(test)]
pub(super) mod faults {
    //! A disk that fails where a test wants it to.

    use std::io;
    use std::ops::RangeInclusive;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    /// Which calls fail, counted from 1. Clones share the count.
    #[derive(Clone, Debug, Default)]
    pub(in crate::journal) struct Faults(Arc<Calls>);

    #[derive(Debug, Default)]
    struct Calls {
        made: AtomicU64,
        first: AtomicU64,
        last: AtomicU64,
    }

    impl Faults {
        pub(in crate::journal) fn at(calls: RangeInclusive<u64>) -> Faults {
            let faults = Faults::default();
            faults.0.first.store(*calls.start(), Ordering::SeqCst);
            faults.0.last.store(*calls.end(), Ordering::SeqCst);
            faults
        }

        /// From now on every call fails.
        pub(in crate::journal) fn start(&self) {
            self.0.last.store(u64::MAX, Ordering::SeqCst);
        }

        /// No call fails any more.
        pub(in crate::journal) fn end(&self) {
            self.0.last.store(0, Ordering::SeqCst);
        }

        pub(in crate::journal) fn calls(&self) -> u64 {
            self.0.made.load(Ordering::SeqCst)
        }

        pub(super) fn strike(&self) -> io::Result<()> {
            let call = self.0.made.fetch_add(1, Ordering::SeqCst) + 1;
            let fails = (self.0.first.load(Ordering::SeqCst)..=self.0.last.load(Ordering::SeqCst)).contains(&call);
            if fails { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
        }

        /// As [`Faults::strike`]; says whether to leave the sync at that. It is for planned faults: there are thousands
        /// of lives to run, and no test can cut the power.
        pub(super) fn strike_sync(&self) -> io::Result<bool> {
            self.strike()?;
            Ok(self.0.first.load(Ordering::SeqCst) > 0)
        }

        /// How much of a failing write reaches the file: nothing, half, or all but the last byte.
        pub(super) fn part_of(&self, bytes: usize) -> usize {
            [0, bytes / 2, bytes.saturating_sub(1)][self.calls() as usize % 3]
        }
    }
}
