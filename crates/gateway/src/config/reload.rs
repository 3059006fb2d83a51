//! Watches for a changed configuration: SIGHUP, and changes of the configuration file.

use std::path::{Path, PathBuf};
use std::time::Duration;

use notify::event::{AccessKind, AccessMode};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tracing::warn;

use super::locations::Locations;
use super::{Config, Problems};

/// Editors and deployment tools write in several steps; what is read this long after the first is whole.
const SETTLE: Duration = Duration::from_millis(250);

/// A watch over one configuration. What happens from its making on is noticed, so it is made before the first reading.
pub struct Watch {
    locations: Locations,
    path: PathBuf,
    text: Option<Vec<u8>>,
    noticed: mpsc::Receiver<()>,
    hangups: Option<Signal>,
    _watcher: Option<RecommendedWatcher>,
}

impl Watch {
    /// Starts to watch these places.
    pub fn new(locations: Locations) -> Watch {
        let path = locations.config_path();
        // One waiting notice is enough: it says "look again", and looking sees everything that happened until then.
        let (notice, noticed) = mpsc::channel(1);
        let watcher = watch_folder(&path, notice);
        Watch { text: read(&path), locations, path, noticed, hangups: hangups(), _watcher: watcher }
    }

    /// Reads the configuration.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn load(&self) -> Result<Config, Problems> {
        self.locations.load()
    }

    /// Calls `on_change` with a freshly loaded configuration on every SIGHUP, and whenever the configuration file holds
    /// another text than before. What cannot be used comes as [`Problems`]: the owner keeps what it has. Never returns;
    /// dropping it ends the watch.
    pub async fn follow(mut self, mut on_change: impl FnMut(Result<Config, Problems>)) {
        loop {
            tokio::select! {
                Some(()) = self.noticed.recv() => {
                    tokio::time::sleep(SETTLE).await;
                    let now = read(&self.path);
                    if now == self.text {
                        continue;
                    }
                    self.text = now;
                }
                () = hangup(&mut self.hangups) => self.text = read(&self.path),
            }
            on_change(self.load());
        }
    }
}

fn read(path: &Path) -> Option<Vec<u8>> {
    std::fs::read(path).ok()
}

/// Watches the folder instead of the file, since most editors put a new file in the old one's place. Text is compared
/// afterwards, so that a neighbour's change, or a link on the way to the file, makes no difference.
fn watch_folder(path: &Path, notice: mpsc::Sender<()>) -> Option<RecommendedWatcher> {
    let folder =
        path.parent().filter(|folder| !folder.as_os_str().is_empty()).map_or(PathBuf::from("."), Path::to_owned);
    let on_event = move |event: notify::Result<Event>| {
        if event.is_ok_and(|event| is_change(event.kind)) {
            // A full channel already says it.
            let _ = notice.try_send(());
        }
    };
    let watcher = notify::recommended_watcher(on_event)
        .and_then(|mut watcher| watcher.watch(&folder, RecursiveMode::NonRecursive).map(|()| watcher));
    watcher.inspect_err(|error| warn!(%error, "configuration changes are not noticed; send SIGHUP to reload")).ok()
}

/// Reading the file makes events as well; to follow them would be to read for ever.
fn is_change(kind: EventKind) -> bool {
    match kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => true,
        EventKind::Access(_) => false,
        EventKind::Any | EventKind::Create(_) | EventKind::Modify(_) | EventKind::Remove(_) | EventKind::Other => true,
    }
}

fn hangups() -> Option<Signal> {
    signal(SignalKind::hangup()).inspect_err(|error| warn!(%error, "SIGHUP does not reload the configuration")).ok()
}

async fn hangup(hangups: &mut Option<Signal>) {
    match hangups {
        Some(signal) => {
            // `None` would mean that no more can come.
            if signal.recv().await.is_none() {
                std::future::pending().await
            }
        }
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn locations(folder: &Path) -> Locations {
        Locations { environment: BTreeMap::new(), directory: folder.to_owned(), file: None, demo: false }
    }

    // One test for both, since a signal reaches every watch of the process.
    #[tokio::test]
    async fn a_file_put_in_place_of_another_and_a_hangup_are_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("gateway.toml");
        let replace = |text: &str| {
            let new = folder.path().join("new");
            std::fs::write(&new, text).unwrap();
            std::fs::rename(&new, &path).unwrap();
        };
        let (said, mut heard) = mpsc::channel::<Result<Config, Problems>>(8);
        let watch = Watch::new(locations(folder.path()));
        let change = async {
            replace("[server]\nport = 5\n");
            assert_eq!(heard.recv().await.unwrap().unwrap().port, 5);

            replace("[server]\nport = \"x\"\n");
            let problems = heard.recv().await.unwrap().unwrap_err().to_string();
            assert!(problems.contains("gateway.toml line 2"), "{problems}");

            replace("[server]\nport = 6\n");
            assert_eq!(heard.recv().await.unwrap().unwrap().port, 6);

            let hangup = std::process::Command::new("sh").args(["-c", "kill -HUP $PPID"]).status();
            assert!(hangup.unwrap().success());
            assert_eq!(heard.recv().await.unwrap().unwrap().port, 6);
        };

        tokio::select! {
            () = watch.follow(move |loaded| said.try_send(loaded).unwrap()) => {}
            () = change => {}
        }
    }
}
