//! hostile.md F10: the disk is full, or fails: what cannot be kept is refused, what is there is read, and
//! when there is space again it works again.

use std::process::{Command, Stdio};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::signal::unix::{SignalKind, signal};

use super::*;

/// Where the child finds the store. Set in the child only.
const STORE: &str = "STORE_TO_BE_LIMITED";

const CHILD: &str = "push::store::tests::full::a_child_may_write_no_more";

/// Fills the store until it refuses; how many subscriptions there are then.
async fn fill(store: &Store) -> (usize, Error) {
    for n in 0_u32.. {
        let mut bytes = [1; 12];
        bytes[..4].copy_from_slice(&n.to_be_bytes());
        let new = created(store, SubscriptionId(bytes));
        if let Err(error) = store.apply(vec![new]).await {
            return (store.load().await.unwrap().len(), error);
        }
    }
    unreachable!("a disk without end")
}

/// A file system of 1 MiB; `None` where this user cannot make one.
struct Small(Scratch);

impl Small {
    fn mount() -> Option<Self> {
        let scratch = Scratch::new();
        let mount = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=1m", "none"])
            .arg(&scratch.0)
            .stderr(Stdio::null())
            .status();
        mount.is_ok_and(|status| status.success()).then_some(Self(scratch))
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0.0).status();
    }
}

/// Who may mount nothing proves nothing; root may, so that a test that cannot is broken.
fn not_tried() {
    assert!(!rustix::process::getuid().is_root(), "root, and no file system can be mounted here");
    println!("not tried: only root can mount a file system");
}

#[tokio::test]
async fn a_full_disk_refuses_and_goes_on_when_there_is_space() {
    let Some(small) = Small::mount() else { return not_tried() };
    let ballast = small.0.0.join("ballast");
    fs::write(&ballast, vec![0; 400_000]).unwrap();
    let store = filled(&small.0, &[]).await;
    let (count, error) = fill(&store).await;
    assert!(matches!(error, Error::Full), "{error:?}");
    store.note_given(store.load().await.unwrap()[0].id, "1sAAAA");
    fs::remove_file(ballast).unwrap();
    store.apply(vec![created(&store, id(200))]).await.unwrap();
    store.close().await.unwrap();
    let found = reopened(&small.0).1;
    assert_eq!((found.len(), &*found[0].given), (count + 1, "1sAAAA"));
}

/// A file system with a journal, in a file; `None` where this user cannot make one.
struct Journalled {
    image: Scratch,
    mounted: Scratch,
}

impl Journalled {
    fn mount() -> Option<Self> {
        let made = Self { image: Scratch::new(), mounted: Scratch::new() };
        let image = made.image.0.join("image");
        fs::write(&image, vec![0; 8 << 20]).unwrap();
        let formatted = succeeds(Command::new("mkfs.ext4").arg("-q").arg(&image));
        (formatted && made.attach()).then_some(made)
    }

    fn attach(&self) -> bool {
        let image = self.image.0.join("image");
        succeeds(Command::new("mount").args(["-o", "loop"]).arg(image).arg(&self.mounted.0))
    }

    /// What the kernel does of its own accord when the disk fails under it, whoever has files open.
    fn turn_read_only(&self) {
        let aborted = ["-o", "remount,abort"];
        assert!(succeeds(Command::new("mount").args(aborted).arg(&self.mounted.0)));
    }

    fn detach(&self) -> bool {
        succeeds(Command::new("umount").arg(&self.mounted.0))
    }
}

impl Drop for Journalled {
    fn drop(&mut self) {
        self.detach();
    }
}

fn succeeds(command: &mut Command) -> bool {
    command.stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}

#[tokio::test]
async fn a_disk_that_turns_read_only_refuses_and_keeps_what_was_acknowledged() {
    let Some(disk) = Journalled::mount() else { return not_tried() };
    let store = filled(&disk.mounted, &[id(1), id(2)]).await;
    disk.turn_read_only();
    let refused = store.apply(vec![created(&store, id(3))]).await.unwrap_err();
    assert!(matches!(refused, Error::Unavailable(_)), "{refused:?}");
    assert_eq!(store.load().await.unwrap().len(), 2);
    // It tries to write what it can, and says that it cannot.
    let closed = store.close().await;
    drop(store);
    assert!(disk.detach() && disk.attach(), "{closed:?}");
    let (store, found) = reopened(&disk.mounted);
    assert_eq!(found.iter().map(|it| it.id).collect::<Vec<_>>(), [id(1), id(2)]);
    store.apply(vec![created(&store, id(3))]).await.unwrap();
    // Nothing can be unmounted with a file open.
    store.close().await.unwrap();
}

#[tokio::test]
async fn a_child_may_write_no_more() {
    let Some(folder) = std::env::var_os(STORE) else { return };
    // Whoever catches the signal is told by the call that it cannot write (EFBIG).
    let _caught = signal(SignalKind::from_raw(libc::SIGXFSZ)).unwrap();
    let settings = settings_in(Path::new(&folder));
    let (store, _) = Store::open(&settings).unwrap();
    let before = getrlimit(Resource::Fsize);
    setrlimit(Resource::Fsize, Rlimit { current: Some(400_000), ..before }).unwrap();
    let (count, error) = fill(&store).await;
    assert!(matches!(error, Error::Unavailable(_)), "{error:?}");
    setrlimit(Resource::Fsize, before).unwrap();
    store.apply(vec![created(&store, id(200))]).await.unwrap();
    store.close().await.unwrap();
    assert_eq!(Store::open(&settings).unwrap().1.len(), count + 1);
}

/// A limit on the size of files stands for a disk that fails: it needs no privilege, and a process of its
/// own.
#[tokio::test]
async fn a_failing_disk_refuses_and_goes_on_when_it_works_again() {
    let scratch = Scratch::new();
    filled(&scratch, &[id(199)]).await.close().await.unwrap();
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", CHILD, "--nocapture"])
        .env(STORE, &scratch.0)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&child.stderr);
    assert!(child.status.success(), "{said}");
    assert!(reopened(&scratch).1.len() > 10);
}
