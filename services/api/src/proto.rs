//! Generated code, one module per package.

/// Every message and service, as an encoded `FileDescriptorSet`, for reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

macro_rules! packages {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {$(
        $(#[$doc])*
        #[allow(missing_docs, unreachable_pub, clippy::all, rustdoc::all, reason = "generated from documented proto files")]
        pub mod $name {
            /// Version 1.
            pub mod v1 {
                include!(concat!(env!("OUT_DIR"), "/setkeeper.", stringify!($name), ".v1.rs"));
            }
        }
    )*};
}

packages! {
    /// What planners are told about a set.
    planning,
    /// The public API, and what machines call.
    coordinator,
    /// Order of creation and deletion.
    ordinal_scheduler,
    /// Revisions and replacement.
    update_planner,
    /// Claims and volumes.
    volume_claim,
    /// Names.
    identity_dns,
    /// Processes of one machine.
    pod_runtime,
}
