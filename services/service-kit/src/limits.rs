//! The bounds of every server and client, in one place.
//!
//! The size of a message is checked by the generated code, so each generated server and client has to be told. Wrap it
//! when it is made:
//!
//! ```text
//! let server = service_kit::sized_server!(OrdinalSchedulerServiceServer::new(service));
//! let client = service_kit::sized_client!(OrdinalSchedulerServiceClient::new(channel));
//! ```

mod tunable;

use std::time::Duration;

pub use self::tunable::{InvalidLimit, Limit, Limits};

/// Largest request, in bytes. A manifest may have 16 MiB, and as a message it may be twice that.
pub const REQUEST_BYTES_MAX: usize = 32 * 1024 * 1024;

/// Largest response, in bytes: a page of 5000 objects of 12 KiB, or a pod with dozens of ConfigMaps and Secrets of 1 MiB
/// each.
pub const RESPONSE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Connections of one server. A coordinator has a handful of services, some machines, and people.
pub const CONNECTIONS_MAX: usize = 1024;

/// Connections of one server on which nobody has been let in yet, at the same time. The one that has waited longest makes
/// room for the next, so that a stranger who holds them open keeps out nobody.
pub const STRANGERS_MAX: usize = 256;

/// Calls of one user per second, and four times that at once. Far above what a person or a busy script makes.
pub const USER_CALLS_PER_SECOND_MAX: u32 = 100;

/// Calls of one connection at the same time, streams included: every watch of a busy client.
pub const STREAMS_PER_CONNECTION_MAX: u32 = 1024;

/// Calls of one server that have not been answered yet, at the same time. Further ones are turned away with
/// `RESOURCE_EXHAUSTED`, because a queue would only make all of them late. An open stream has been answered.
pub const CALLS_IN_FLIGHT_MAX: usize = 1024;

/// Headers of one request, in bytes: token, trace context and room to spare.
pub const REQUEST_HEADER_BYTES_MAX: u32 = 16 * 1024;

/// Headers and trailers of one response, in bytes. Errors travel in trailers, with every violation they name.
pub const RESPONSE_HEADER_BYTES_MAX: u32 = 256 * 1024;

/// What may be under way on one stream before the reader confirms, in bytes.
pub const STREAM_WINDOW_BYTES: u32 = 1024 * 1024;

/// What may be under way on one connection before the reader confirms, in bytes.
pub const CONNECTION_WINDOW_BYTES: u32 = 4 * 1024 * 1024;

/// What a unary call may take where its caller said nothing. Planning takes milliseconds, a stuck disk seconds.
pub const CALL_DEADLINE: Duration = Duration::from_secs(10);

/// Calls under way that ask for no proof of who calls: health and reflection. Probes and people need a few; more would be
/// somebody who keeps them open.
pub const OPEN_CALLS_MAX: u32 = 64;

/// What a server grants a call that came without a deadline, such as one typed by hand: to be answered, or of a stream to
/// begin.
pub const SERVER_DEADLINE: Duration = Duration::from_secs(60);

/// What connecting may take. On one machine it takes microseconds; between pods, a lost packet or two.
pub const CONNECT_DEADLINE: Duration = Duration::from_secs(3);

/// What a TLS handshake may take: a round trip and a signature, on a machine under load.
pub const HANDSHAKE_DEADLINE: Duration = Duration::from_secs(5);

/// How often a client asks whether its server is still there, idle or not: a cut that nobody announced is noticed
/// within this plus [`KEEPALIVE_TIMEOUT`].
pub const CLIENT_KEEPALIVE_INTERVAL: Duration = Duration::from_secs(2);

/// How often a server asks whether its client is still there. Slower than the client: a server only frees memory by it.
pub const SERVER_KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);

/// How long the other side may take to say that it is there. Longer than a machine under load stalls.
pub const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(4);

/// How long calls in flight may take once a server is to end. Streams end by themselves at once.
pub const DRAIN_GRACE: Duration = Duration::from_secs(5);

/// How much the age of a connection varies, as a part of it: clients that came together do not leave together.
pub const CONNECTION_AGE_JITTER: f64 = 0.1;

/// Tells a generated server the sizes of messages.
#[macro_export]
macro_rules! sized_server {
    ($server:expr) => {
        $server
            .max_decoding_message_size($crate::limits::REQUEST_BYTES_MAX)
            .max_encoding_message_size($crate::limits::RESPONSE_BYTES_MAX)
    };
}

/// Tells a generated client the sizes of messages. A request that is too large is left to the server to refuse: it says
/// by how much, where a client that refuses itself only breaks its stream.
#[macro_export]
macro_rules! sized_client {
    ($client:expr) => {
        $client.max_decoding_message_size($crate::limits::RESPONSE_BYTES_MAX)
    };
}
