//! Calls, by method and code.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use tokio::time::Instant;
use tonic::body::Body;
use tonic::{Code, Status};

use super::{Counter, Histogram, Page, Scale};
use crate::methods;

/// Codes there are.
const CODES: usize = 17;

/// Which end of a call is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Server,
    Client,
}

/// The calls of one service.
#[derive(Debug)]
pub(crate) struct Rpc {
    prefix: String,
    /// Services whose methods are told of before they are called.
    services: Vec<&'static str>,
    places: HashMap<&'static str, usize>,
    /// By place; the last is for methods that are not ours.
    methods: Vec<Method>,
}

#[derive(Debug)]
struct Method {
    service: String,
    name: String,
    started: Counter,
    handled: [Counter; CODES],
    duration: Histogram,
}

impl Method {
    fn new(path: &str) -> Self {
        let (service, name) = path.trim_start_matches('/').split_once('/').unwrap_or((path, path));
        Self {
            service: service.to_owned(),
            name: name.to_owned(),
            started: Counter::default(),
            handled: Default::default(),
            duration: Histogram::new(Scale::SECONDS),
        }
    }
}

impl Rpc {
    pub(super) fn new(service: &str, side: Side, services: Vec<&'static str>) -> Self {
        let side = match side {
            Side::Server => "server",
            Side::Client => "client",
        };
        let paths: Vec<_> = methods::paths().collect();
        let methods = paths.iter().copied().chain(["other"]).map(Method::new).collect();
        let places = paths.into_iter().enumerate().map(|(place, path)| (path, place)).collect();
        Self { prefix: format!("setkeeper_{}_rpc_{side}", service.replace('-', "_")), services, places, methods }
    }

    /// A call begins. Whatever becomes of it is counted, also that it is dropped.
    pub(crate) fn begin(self: &Arc<Self>, path: &str) -> Call {
        let place = self.places.get(path).copied().unwrap_or(self.methods.len() - 1);
        self.methods[place].started.increment();
        Call { rpc: self.clone(), place, began: Instant::now(), begun: false, ended: false }
    }

    pub(super) fn write(&self, page: &mut Page) {
        let (started, handled, duration) = (
            format!("{}_started_total", self.prefix),
            format!("{}_handled_total", self.prefix),
            format!("{}_duration_seconds", self.prefix),
        );
        for method in &self.methods {
            if method.started.value() == 0 && !self.services.contains(&method.service.as_str()) {
                continue;
            }
            let labels = [("grpc_service", method.service.as_str()), ("grpc_method", method.name.as_str())];
            page.counter(&started, "Calls that began.", &labels, method.started.value());
            for (code, count) in method.handled.iter().enumerate() {
                if count.value() > 0 || code == 0 {
                    let code = Code::from_i32(i32::try_from(code).unwrap_or_default());
                    let code = format!("{code:?}");
                    let labels = [labels[0], labels[1], ("grpc_code", code.as_str())];
                    page.counter(&handled, "Calls that ended, streams included, by code.", &labels, count.value());
                }
            }
            let help = "Time to the answer; of streams, to the beginning of the answer.";
            page.histogram(&duration, help, &labels, &method.duration);
        }
    }
}

/// A call under way.
#[derive(Debug)]
pub(crate) struct Call {
    rpc: Arc<Rpc>,
    place: usize,
    began: Instant,
    begun: bool,
    ended: bool,
}

impl Call {
    /// The answer has begun.
    pub(crate) fn answered(&mut self) {
        if !std::mem::replace(&mut self.begun, true) {
            self.rpc.methods[self.place].duration.observe(self.began.elapsed());
        }
    }

    /// The call has ended.
    pub(crate) fn end(mut self, code: Code) {
        self.answered();
        self.count(code);
    }

    fn count(&mut self, code: Code) {
        if !std::mem::replace(&mut self.ended, true) {
            self.rpc.methods[self.place].handled[code as usize].increment();
        }
    }
}

impl Drop for Call {
    /// Nobody waits for it any more.
    fn drop(&mut self) {
        self.count(Code::Cancelled);
    }
}

/// The body of a stream, whose call ends when it does.
pub(crate) struct Counted {
    body: Body,
    call: Option<Call>,
}

impl Counted {
    pub(crate) fn wrap(body: Body, mut call: Call) -> Body {
        call.answered();
        Body::new(Self { body, call: Some(call) })
    }
}

impl HttpBody for Counted {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        let code = match &polled {
            Poll::Ready(Some(Ok(frame))) => frame
                .trailers_ref()
                .map(|trailers| Status::from_header_map(trailers).map_or(Code::Ok, |status| status.code())),
            Poll::Ready(Some(Err(status))) => Some(status.code()),
            Poll::Ready(None) => Some(Code::Ok),
            Poll::Pending => None,
        };
        if let Some(code) = code
            && let Some(call) = self.call.take()
        {
            call.end(code);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_counted_once_whatever_becomes_of_it() {
        let rpc =
            Arc::new(Rpc::new("identity-dns", Side::Server, vec!["setkeeper.identity_dns.v1.IdentityDnsService"]));
        let path = "/setkeeper.identity_dns.v1.IdentityDnsService/Assign";
        rpc.begin(path).end(Code::Ok);
        rpc.begin(path).end(Code::NotFound);
        drop(rpc.begin(path));
        drop(rpc.begin("/grpc.health.v1.Health/Check"));
        let mut page = Page::default();
        rpc.write(&mut page);
        let page = page.render();
        let labels = "grpc_service=\"setkeeper.identity_dns.v1.IdentityDnsService\",grpc_method=\"Assign\"";
        for line in [
            format!("setkeeper_identity_dns_rpc_server_started_total{{{labels}}} 3\n"),
            format!("setkeeper_identity_dns_rpc_server_handled_total{{{labels},grpc_code=\"Ok\"}} 1\n"),
            format!("setkeeper_identity_dns_rpc_server_handled_total{{{labels},grpc_code=\"NotFound\"}} 1\n"),
            format!("setkeeper_identity_dns_rpc_server_handled_total{{{labels},grpc_code=\"Cancelled\"}} 1\n"),
            format!("setkeeper_identity_dns_rpc_server_duration_seconds_count{{{labels}}} 2\n"),
            "setkeeper_identity_dns_rpc_server_started_total{grpc_service=\"other\",grpc_method=\"other\"} 1\n"
                .to_owned(),
        ] {
            assert!(page.contains(&line), "{line} is not in:\n{page}");
        }
        assert!(page.contains("grpc_method=\"Publish\""), "methods that were never called are there");
        assert!(!page.contains("PodService"), "methods of others are not");
    }
}
