//! `fence`.

use clap::Args;

/// Which machine, and how it is known.
#[derive(Debug, Args)]
pub(crate) struct FenceArgs {
    /// The machine, as `setkeeper get nodes` names it
    #[arg(value_name = "NODE")]
    pub(crate) node: String,
    /// How it is known that nothing runs there any more, such as "powered off through its BMC". If it is not so, two pods
    /// write at once
    #[arg(long, value_name = "TEXT")]
    pub(crate) evidence: String,
    /// Only if the machine has this uid
    #[arg(long, default_value = "", value_name = "UID")]
    pub(crate) uid: String,
}
