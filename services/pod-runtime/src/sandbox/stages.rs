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
        "node-enter" => anchor::enter(),
        "node-anchor" => text().and_then(anchor::main),
        "pod-shim" => match argument {
            Some(directory) => shim::main(directory.into()),
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
