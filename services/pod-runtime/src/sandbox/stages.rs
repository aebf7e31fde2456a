//! Which stage goes by which name.

use std::ffi::OsString;
use std::io::{self, ErrorKind};

use super::{anchor, init, probe, shim};

/// Runs a stage; none if there is none of that name.
pub(crate) fn run(stage: &str, argument: Option<OsString>) -> Option<io::Result<()>> {
    let text = || {
        let text = argument.as_ref().and_then(|argument| argument.to_str());
        text.ok_or_else(|| io::Error::new(ErrorKind::InvalidInput, "this stage is not for people"))
    };
    Some(match stage {
        "node-enter" => close_inherited().and_then(|()| anchor::enter()),
        "node-anchor" => text().and_then(anchor::main),
        "pod-shim" => match argument {
            Some(directory) => close_inherited().and_then(|()| shim::main(directory.into())),
            None => text().map(drop),
        },
        "container-launch" => text().and_then(init::launch),
        "container-init" => init::main(),
        "container-program" => init::program(),
        "probe-node" => text().and_then(probe::node),
        "probe-tree" => text().and_then(probe::tree),
        "probe-mounts" => text().and_then(probe::mounts),
        _ => return None,
    })
}

/// Closes what whoever started the runtime left open, so that no pod inherits it. Before anything of our own is open,
/// at the two roots of all long-lived processes; everything opened later is closed on execution.
fn close_inherited() -> io::Result<()> {
    let open: Vec<i32> = std::fs::read_dir("/proc/self/fd")?
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|number| *number > 2)
        .collect();
    for number in open {
        match nix::unistd::close(number) {
            // The directory that was just read.
            Ok(()) | Err(nix::errno::Errno::EBADF) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
