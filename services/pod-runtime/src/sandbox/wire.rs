//! How the runtime, the anchor, the shims and their stages talk: one JSON object per line over unix sockets, with file
//! descriptors beside a line where a socket is handed over.

mod transport;

use serde::{Deserialize, Serialize};

pub(crate) use self::transport::{Filled, Lines, fill, in_directory, line, receive, receive_with, send, send_with};
use crate::backend::ContainerSpec;

/// Version of the messages below. A runtime refuses an anchor or shim of another version and says so.
pub(crate) const VERSION: u32 = 1;

/// Asked of the anchor.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case")]
pub(crate) enum AnchorRequest {
    /// Who are you?
    Hello,
    /// An unconnected TCP socket inside the node's network.
    Socket,
    /// A UDP and a listening TCP socket on port 53 of the bridge.
    NameServer,
    /// A shim for a pod directory; the answer carries its first connection.
    Shim {
        /// The pod's directory.
        directory: std::path::PathBuf,
    },
    /// End, if no pod is left.
    End,
}

/// Answered by the anchor.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "re", rename_all = "snake_case")]
pub(crate) enum AnchorReply {
    /// It is this.
    Hello {
        /// Its message version.
        version: u32,
        /// Its process number.
        pid: u32,
        /// Address of the bridge.
        gateway: std::net::Ipv4Addr,
        /// Length of the network's prefix in bits.
        prefix_length: u8,
    },
    /// Done; descriptors come with it where asked for.
    Done,
    /// Refused, in words.
    Error {
        /// In words.
        message: String,
    },
}

/// Asked of a shim.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case")]
pub(crate) enum ShimRequest {
    /// Who are you? Also answered when the sandbox has come up.
    Hello,
    /// Start a container instance; answered when it runs or cannot.
    Start {
        /// What to run.
        spec: Box<ContainerSpec>,
    },
    /// Signal the program.
    Signal {
        /// Which container.
        container: String,
        /// Signal number.
        signal: i32,
    },
    /// Kill everything; answered when the exit is recorded.
    Kill {
        /// Which container.
        container: String,
    },
    /// Run a command; answered when it has ended. Closing the connection kills it.
    Exec {
        /// Which container.
        container: String,
        /// Program and arguments.
        command: Vec<String>,
        /// After so many milliseconds it is killed.
        timeout_ms: u64,
    },
    /// Tell of every change by a line; the end of the connection tells that the shim died.
    Watch,
    /// The node's network namespace, and its user namespace where there is one, as descriptors.
    Node,
    /// Kill everything, record it, and end.
    End,
}

/// Answered by a shim.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "re", rename_all = "snake_case")]
pub(crate) enum ShimReply {
    /// It is this.
    Hello {
        /// Its message version.
        version: u32,
        /// Its process number.
        pid: u32,
    },
    /// Done.
    Done,
    /// Something changed.
    Changed,
    /// No such container, or it does not run.
    NotRunning,
    /// The command cannot be run.
    CannotRun {
        /// `RunContainerError` or `CreateContainerError`.
        reason: String,
        /// In words.
        message: String,
    },
    /// The command ended.
    Executed {
        /// 0 to 255; 128 + n for signal n.
        exit_code: i32,
        /// The beginning of its output.
        output: String,
    },
    /// The command took too long and was killed.
    TimedOut,
    /// The machine refused, in words.
    Error {
        /// In words.
        message: String,
    },
}

/// Told by the stages of a container to its shim.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(crate) enum StageEvent {
    /// The next stage exists, under this number on the machine.
    Spawned {
        /// Process number.
        pid: u32,
    },
    /// The program runs.
    Started,
    /// It cannot be run.
    Failed {
        /// `RunContainerError` or `CreateContainerError`.
        reason: String,
        /// In words.
        message: String,
    },
    /// The program ended.
    Exited {
        /// 0 to 255; 128 + n for signal n.
        exit_code: i32,
        /// The signal that ended it, if one did.
        signal: Option<i32>,
    },
}

/// Told to the first process of a container.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "order", rename_all = "snake_case")]
pub(crate) enum InitOrder {
    /// Put the container together and run it.
    Run(Box<InitSpec>),
    /// Signal the program.
    Signal {
        /// Signal number.
        signal: i32,
    },
    /// Kill everything below.
    Kill,
}

/// What the first process of a container must know.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct InitSpec {
    /// What to run.
    pub(crate) container: ContainerSpec,
    /// What separates the pod from the machine.
    pub(crate) isolation: super::record::Isolation,
    /// Where the root is put together.
    pub(crate) root: std::path::PathBuf,
    /// A program that is there at its own path.
    pub(crate) program: std::path::PathBuf,
    /// Directories to hide.
    pub(crate) masked: Vec<std::path::PathBuf>,
}

/// What the last stage before the program must know.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct ProgramSpec {
    /// Program and arguments.
    pub(crate) command: Vec<String>,
    /// Whole environment.
    pub(crate) env: Vec<(String, String)>,
    /// Working directory.
    pub(crate) working_dir: std::path::PathBuf,
    /// User id.
    pub(crate) user: Option<u32>,
    /// Group id.
    pub(crate) group: Option<u32>,
    /// Further group ids.
    pub(crate) supplemental_groups: Vec<u32>,
    /// Whether other user ids need a nested user namespace.
    pub(crate) one_uid: bool,
    /// Process on the machine whose mount namespace to join first.
    pub(crate) join_mounts_of: Option<u32>,
}
