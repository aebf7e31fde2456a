//! The program in the pods of the demo: says who it is, and counts its starts on its volume.
//!
//! As long as it lives it holds a lock on its volume. Two of them on one volume would mean that an ordinal runs twice, so
//! whoever finds the lock held says so on the volume, for good, and ends.

use std::convert::Infallible;
use std::fs::{self, File, TryLockError};
use std::io::{self, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{Either, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use service_kit::signals;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::data_dir::{PRIVATE, write_atomically};
use crate::failure::{Failure, Outcome};

/// Where it listens where nobody says otherwise.
const PORT_DEFAULT: u16 = 8080;

/// Where its volume is where nobody says otherwise.
const DATA_DIR_DEFAULT: &str = "/data";

/// File on the volume that is locked by the program that uses it.
const LOCK_FILE: &str = "lock";

/// File on the volume with a line for each program that found another one there.
const RAN_TWICE_FILE: &str = "ran-twice";

/// How long a listener rests that could not accept.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

/// Connections at the same time. It is an example, not a server.
const CONNECTIONS_MAX: usize = 64;

/// The body of an answer.
type Answer = Either<Full<Bytes>, Incoming>;

/// What the pod tells its program.
struct Settings {
    listen: SocketAddr,
    data_dir: PathBuf,
    pod: String,
    ordinal: String,
    revision: String,
}

impl Settings {
    #[expect(clippy::disallowed_methods, reason = "this is configuration")]
    fn from_environment() -> Self {
        let set = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let port = set("PORT").and_then(|port| port.parse().ok()).unwrap_or(PORT_DEFAULT);
        let address = set("POD_IP").and_then(|address| address.parse().ok());
        let pod = set("POD_NAME").or_else(|| set("HOSTNAME")).unwrap_or_default();
        let ordinal = set("POD_ORDINAL")
            .or_else(|| pod.rsplit_once('-').map(|(_, ordinal)| ordinal.to_owned()))
            .unwrap_or_default();
        Self {
            listen: SocketAddr::new(address.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)), port),
            data_dir: set("DATA_DIR").map_or_else(|| PathBuf::from(DATA_DIR_DEFAULT), PathBuf::from),
            pod,
            ordinal,
            revision: set("REVISION").unwrap_or_default(),
        }
    }
}

/// Serves until SIGTERM.
///
/// # Errors
/// The volume cannot be written or is in use, or the port is taken.
pub(crate) async fn run() -> Outcome {
    let shutdown = signals::shutdown_token()?;
    let settings = Settings::from_environment();
    let unusable = |error| Failure::new(format_args!("{} cannot be used: {error}", settings.data_dir.display()));
    // Held until the process ends, however it ends.
    let _lock = hold(&settings.data_dir, &settings.pod).map_err(unusable)?;
    let starts = count_start(&settings.data_dir).map_err(unusable)?;
    let listener = TcpListener::bind(settings.listen)
        .await
        .map_err(|error| Failure::new(format_args!("cannot listen on {}: {error}", settings.listen)))?;
    println!("{} listens on {}, start {starts}", settings.pod, settings.listen);
    let answer = Arc::new(json!({
        "pod": settings.pod,
        "ordinal": settings.ordinal.parse::<u64>().map_or(Value::Null, Value::from),
        "revision": settings.revision,
        "starts": starts,
    }));
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            () = shutdown.cancelled() => break,
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
            accepted = listener.accept(), if connections.len() < CONNECTIONS_MAX => {
                let Ok((stream, _)) = accepted else {
                    // Out of descriptors: those there are will be closed.
                    tokio::time::sleep(ACCEPT_AGAIN).await;
                    continue;
                };
                let answer = Arc::clone(&answer);
                let service = service_fn(move |request| respond(Arc::clone(&answer), request));
                let serving = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
                connections.spawn(async move { serving.await.is_ok() });
            }
        }
    }
    println!("{} stops", settings.pod);
    Ok(())
}

/// What is sent to it, it sends back as it comes; everything else it answers with who it is.
async fn respond(answer: Arc<Value>, request: Request<Incoming>) -> Result<Response<Answer>, Infallible> {
    if request.method() == Method::POST {
        return Ok(Response::new(Either::Right(request.into_body())));
    }
    let mut body = match request.uri().path() {
        "/healthz" => "ok".to_owned(),
        _ => answer.to_string(),
    };
    body.push('\n');
    let mut response = Response::new(Either::Left(Full::new(Bytes::from(body))));
    let kind = hyper::header::HeaderValue::from_static("application/json");
    response.headers_mut().insert(hyper::header::CONTENT_TYPE, kind);
    Ok(response)
}

/// Takes the volume for this program alone.
fn hold(directory: &Path, pod: &str) -> io::Result<File> {
    let append = |name: &str| File::options().create(true).append(true).open(directory.join(name));
    let lock = append(LOCK_FILE)?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::Error(error)) => Err(error),
        Err(TryLockError::WouldBlock) => {
            let mut mark = append(RAN_TWICE_FILE)?;
            writeln!(mark, "{pod}, process {}", std::process::id())?;
            mark.sync_all()?;
            Err(io::Error::new(io::ErrorKind::ResourceBusy, "another program runs on this volume"))
        }
    }
}

/// Counts this start durably and returns how many there were, this one included.
fn count_start(directory: &Path) -> io::Result<u64> {
    let path = directory.join("starts");
    let before = match fs::read_to_string(&path) {
        Ok(text) => text.trim().parse().map_err(|_| io::Error::other(format!("{} holds no number", path.display())))?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
        Err(error) => return Err(error),
    };
    let starts: u64 = before + 1;
    write_atomically(&path, format!("{starts}\n").as_bytes(), PRIVATE)?;
    fs::File::open(directory)?.sync_all()?;
    Ok(starts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_volume_is_held_by_one_and_whoever_comes_second_leaves_a_mark() {
        let directory = tempfile::tempdir().expect("a directory");
        let mark = directory.path().join(RAN_TWICE_FILE);
        let first = hold(directory.path(), "web-0").expect("is free");
        assert!(!mark.exists());
        assert!(hold(directory.path(), "web-0").is_err());
        drop(first);
        let _next = hold(directory.path(), "web-0").expect("is free again");
        assert_eq!(fs::read_to_string(mark).expect("stays").lines().count(), 1);
    }

    #[test]
    fn starts_are_counted_on_the_volume() {
        let directory = tempfile::tempdir().expect("a directory");
        for expected in 1..=3 {
            assert_eq!(count_start(directory.path()).expect("writes"), expected);
        }
        fs::write(directory.path().join("starts"), "many").expect("a file");
        assert!(count_start(directory.path()).is_err(), "a broken count is not begun anew");
    }
}
