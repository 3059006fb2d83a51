//! From the system's memory to the disk.

use std::fs::File;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::segment::cannot;
use super::{Fsync, Journal};
use crate::Error;

impl Journal {
    /// Makes all that was written safe from a power cut. Waits for the disk: not for a thread that serves requests.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn sync(&self) -> Result<(), Error> {
        let _one_at_a_time = self.syncing.lock();
        let result = self.sync_files();
        if result.is_err() {
            self.doubtful.store(self.writes.load(Ordering::Acquire), Ordering::Release);
        }
        self.sync_health.note(&result);
        result
    }

    /// With [`Fsync::Always`], waits until all that was reserved so far is safe from a power cut; otherwise returns
    /// at once. All who wait at one time share one sync, which runs on a thread for blocking work.
    ///
    /// Dropping the future gives up the wait and nothing else: the holds are as they were.
    ///
    /// # Errors
    /// [`Error::File`]: the request must not be sent, and its hold has to be settled with nothing.
    pub async fn synced(self: &Arc<Self>) -> Result<(), Error> {
        match self.options.fsync {
            Fsync::Interval(_) => return Ok(()),
            Fsync::Always => {}
        }
        let wanted = self.writes.load(Ordering::Acquire);
        // Tokio's lock: it is held over the sync, so that whoever comes meanwhile waits here and shares the next.
        let mut covered = self.covered.lock().await;
        self.refuse_doubtful(wanted)?;
        if wanted > *covered {
            let reaches = self.writes.load(Ordering::Acquire);
            let journal = Arc::clone(self);
            let stopped = |stop| Err(cannot("sync", &self.directory.path, io::Error::other(stop)));
            tokio::task::spawn_blocking(move || journal.sync()).await.unwrap_or_else(stopped)?;
            *covered = reaches;
        }
        // Another sync can have failed meanwhile: the owner's, or one whose waiter has left.
        self.refuse_doubtful(wanted)
    }

    fn refuse_doubtful(&self, write: u64) -> Result<(), Error> {
        if write > self.doubtful.load(Ordering::Acquire) {
            return Ok(());
        }
        Err(cannot("sync", &self.directory.path, io::Error::other("another one failed")))
    }

    fn sync_files(&self) -> Result<(), Error> {
        let (current, number, path, sealed) = {
            let tail = self.tail.lock();
            let current = &tail.current;
            (Arc::clone(&current.file), current.number, current.path.clone(), tail.unsynced.clone())
        };
        if number > self.named.load(Ordering::Acquire) {
            self.directory.sync()?;
            self.named.fetch_max(number, Ordering::AcqRel);
        }
        for &segment in &sealed {
            let path = self.directory.path_of(segment);
            let sync = || self.directory.disk.sync(&File::open(&path)?);
            sync().map_err(|source| cannot("sync", &path, source))?;
        }
        self.directory.disk.sync(&current).map_err(|source| cannot("sync", &path, source))?;
        self.tail.lock().unsynced.retain(|segment| !sealed.contains(segment));
        Ok(())
    }
}
