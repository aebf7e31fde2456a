use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};

use super::*;

const UID: &str = "0189b2f4-7c1e-4d3a-9f00-0123456789ab";

fn name() -> VolumeName {
    VolumeName::parse(&format!("pvc-{UID}"), UID).unwrap()
}

fn open() -> (tempfile::TempDir, Directories) {
    let place = tempfile::tempdir().unwrap();
    let directories = Directories::open(&place.path().join("volumes")).unwrap();
    (place, directories)
}

/// Removes in as many steps as it takes; how many that were, and what they removed.
fn remove(directories: &Directories) -> (u32, u64) {
    let mut removed = 0;
    for step in 1..1000 {
        let done = directories.deprovision(&name()).unwrap();
        removed += done.removed_entries;
        if done.done {
            return (step, removed);
        }
    }
    panic!("removal does not end");
}

#[test]
fn a_volume_is_made_once_and_keeps_its_data() {
    let (_place, directories) = open();
    let path = directories.provision(&name(), 1 << 30).unwrap();
    assert!(path.is_absolute() && path.ends_with(name().as_str()));
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o777);
    fs::write(path.join("data"), "kept").unwrap();
    let again = Directories::open(path.parent().unwrap()).unwrap();
    assert_eq!(again.provision(&name(), 1 << 30).unwrap(), path);
    assert_eq!(fs::read_to_string(path.join("data")).unwrap(), "kept");
}

#[test]
fn pods_of_other_users_pass_but_do_not_list() {
    let (_place, directories) = open();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode(&directories.path), 0o711);
    for private in [".markers", ".new", ".trash"] {
        assert_eq!(mode(&directories.path.join(private)), 0o700);
    }
}

#[test]
fn a_crash_at_any_step_is_repaired() {
    let (_place, directories) = open();
    directories.mark(&name(), 0).unwrap();
    fs::create_dir(directories.path.join(".new").join(name().as_str())).unwrap();
    let path = directories.provision(&name(), 0).unwrap();
    assert!(path.is_dir() && fs::read_dir(directories.path.join(".new")).unwrap().next().is_none());
}

#[test]
fn what_was_not_made_for_this_claim_is_left_alone() {
    let (place, directories) = open();
    let path = directories.path.join(name().as_str());
    fs::create_dir(&path).unwrap();
    fs::write(path.join("data"), "somebody's").unwrap();
    let refused = |error| assert!(matches!(error, DirectoryError::Foreign { .. }), "{error:?}");
    refused(directories.provision(&name(), 0).unwrap_err());
    refused(directories.deprovision(&name()).unwrap_err());
    let marker = directories.path.join(".markers").join(name().as_str());
    let other = format!(r#"{{"volume":"{}","claimUid":"another","capacityBytes":0}}"#, name());
    fs::write(&marker, other).unwrap();
    refused(directories.deprovision(&name()).unwrap_err());
    fs::write(&marker, "torn").unwrap();
    refused(directories.deprovision(&name()).unwrap_err());
    fs::remove_dir_all(&path).unwrap();
    fs::remove_file(&marker).unwrap();
    symlink(place.path(), &path).unwrap();
    refused(directories.provision(&name(), 0).unwrap_err());
    refused(directories.deprovision(&name()).unwrap_err());
}

#[test]
fn removal_leaves_nothing_and_can_be_repeated() {
    let (_place, directories) = open();
    let path = directories.provision(&name(), 0).unwrap();
    fs::create_dir_all(path.join("a/b/c")).unwrap();
    fs::write(path.join("a/b/file"), "x").unwrap();
    remove(&directories);
    assert!(!path.exists());
    for private in [".markers", ".new", ".trash"] {
        assert_eq!(fs::read_dir(directories.path.join(private)).unwrap().count(), 0, "{private}");
    }
    assert_eq!(directories.deprovision(&name()).unwrap(), Step::nothing_left());
}

#[test]
fn links_are_removed_and_never_followed() {
    let (place, directories) = open();
    let outside = place.path().join("outside");
    fs::create_dir_all(outside.join("deep")).unwrap();
    fs::write(outside.join("precious"), "kept").unwrap();
    let path = directories.provision(&name(), 0).unwrap();
    fs::create_dir_all(path.join("inner/inner")).unwrap();
    for (target, link) in [
        (outside.clone(), path.join("absolute")),
        (PathBuf::from("../../outside"), path.join("relative")),
        (outside.join("precious"), path.join("inner/file")),
        (PathBuf::from(".."), path.join("inner/inner/up")),
        (PathBuf::from("/proc/self/root"), path.join("magic")),
        (PathBuf::from("loop"), path.join("loop")),
    ] {
        symlink(target, link).unwrap();
    }
    fs::hard_link(outside.join("precious"), path.join("hard")).unwrap();
    remove(&directories);
    assert!(!path.exists() && outside.join("deep").is_dir());
    assert_eq!(fs::read_to_string(outside.join("precious")).unwrap(), "kept");
}

#[test]
fn directories_without_permissions_are_removed() {
    let (_place, directories) = open();
    let path = directories.provision(&name(), 0).unwrap();
    fs::create_dir_all(path.join("closed/inner")).unwrap();
    fs::write(path.join("closed/inner/file"), "x").unwrap();
    for closed in ["closed/inner", "closed", ""] {
        fs::set_permissions(path.join(closed), fs::Permissions::from_mode(0o000)).unwrap();
    }
    remove(&directories);
    assert!(!path.exists());
}

#[test]
fn depth_does_not_matter_and_steps_are_bounded() {
    let (_place, directories) = open();
    let path = directories.provision(&name(), 0).unwrap();
    // Far deeper than a path may be long: made by descriptor, as a hostile pod would.
    let flags = directory_flags();
    let mut at = rustix::fs::open(&path, flags, Mode::empty()).unwrap();
    for _ in 0..3000 {
        rustix::fs::mkdirat(&at, "deeper", VOLUME_MODE).unwrap();
        at = rustix::fs::openat(&at, "deeper", flags, Mode::empty()).unwrap();
    }
    for number in 0..5000 {
        fs::write(path.join(number.to_string()), "").unwrap();
    }
    let (steps, removed) = remove(&directories);
    assert!(steps >= 2, "one step must not remove everything");
    assert!(removed >= 8000, "{removed}");
    assert!(!path.exists());
}

#[test]
fn a_volume_that_is_being_removed_is_not_made_again() {
    let (_place, directories) = open();
    let path = directories.provision(&name(), 0).unwrap();
    for number in 0..5000 {
        fs::write(path.join(number.to_string()), "").unwrap();
    }
    assert!(!directories.deprovision(&name()).unwrap().done);
    assert!(matches!(directories.provision(&name(), 0), Err(DirectoryError::Foreign { .. })));
    remove(&directories);
    assert!(directories.provision(&name(), 0).is_ok());
}

#[test]
fn links_planted_during_removal_do_not_lead_out() {
    let (place, directories) = open();
    let outside = place.path().join("outside");
    fs::create_dir(&outside).unwrap();
    for number in 0..64 {
        fs::write(outside.join(number.to_string()), "kept").unwrap();
    }
    let path = directories.provision(&name(), 0).unwrap();
    let inside = rustix::fs::open(&path, directory_flags(), Mode::empty()).unwrap();
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        // A pod that still holds its volume swaps a directory and a link under one name, again and again.
        scope.spawn(|| {
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                let _ = rustix::fs::mkdirat(&inside, "swap", VOLUME_MODE);
                let _ = rustix::fs::symlinkat(&outside, &inside, "link");
                let flags = RenameFlags::EXCHANGE;
                let _ = rustix::fs::renameat_with(&inside, "swap", &inside, "link", flags);
            }
        });
        for _ in 0..200 {
            // Errors are allowed while somebody works against us; leaving the volume is not.
            let _ = directories.deprovision(&name());
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    remove(&directories);
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 64);
}
