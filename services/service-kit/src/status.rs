//! Building errors of gRPC: a code, a reason, a message, and the details that go with the code.
//!
//! **Size.** Errors travel in headers: the message once with every second character escaped, and once more among the
//! details, in base64. What a client of another language or a proxy takes of headers, where nobody tells it otherwise, is
//! 8 KiB; an error with more would reach its caller as another one. So texts are cut, and violations beyond a bound are
//! left out, the first of them never.

use std::any::Any;
use std::collections::HashMap;
use std::error::Error;
use std::time::Duration;

use api::convert::Violations;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

/// Most violations that one error names. More would not be read.
const VIOLATIONS_MAX: usize = 64;

/// Longest text of one detail, in bytes.
const TEXT_BYTES_MAX: usize = 1024;

/// What the violations of one error may have together, in bytes.
const VIOLATIONS_BYTES_MAX: usize = 2 * TEXT_BYTES_MAX;

/// What a violation costs beside its texts, in bytes: tags and lengths.
const VIOLATION_FRAMING_BYTES: usize = 6;

/// The fact of an error that tells how many of its violations it does not name.
pub const VIOLATIONS_LEFT_OUT: &str = "violationsLeftOut";

/// How long a caller waits before it tries again, where the server knows no better.
pub const RETRY_DELAY: Duration = Duration::from_secs(1);

/// Builds a [`Status`] whose details follow the rules of the API.
///
/// ```
/// # use service_kit::status::StatusBuilder;
/// # use tonic::Code;
/// let status = StatusBuilder::new("coordinator", Code::InvalidArgument, "INVALID_OBJECT", "the set cannot be applied")
///     .violation("spec.replicas", "-1 is below 0: write 0 or more")
///     .build();
/// assert_eq!(status.code(), Code::InvalidArgument);
/// ```
#[derive(Debug)]
pub struct StatusBuilder {
    code: Code,
    message: String,
    details: ErrorDetails,
    violations: usize,
    violations_bytes: usize,
    left_out: usize,
}

impl StatusBuilder {
    /// `reason` is an UPPER_SNAKE constant that clients branch on; `message` is for people.
    #[must_use]
    pub fn new(service: &str, code: Code, reason: &str, message: impl Into<String>) -> Self {
        let details = ErrorDetails::with_error_info(reason, format!("{service}.setkeeper"), HashMap::new());
        Self { code, message: cut(message.into()), details, violations: 0, violations_bytes: 0, left_out: 0 }
    }

    /// The answer to a message that cannot be decoded: `INVALID_ARGUMENT` with all that is wrong with it, up to a bound.
    #[must_use]
    pub fn invalid(service: &str, reason: &str, violations: &Violations) -> Status {
        let mut all = violations.0.iter().map(|(field, message)| format!("{field}: {message}"));
        let message = match (all.next(), violations.0.len()) {
            (first, 0 | 1) => first.unwrap_or_default(),
            (first, count) => format!("{} (and {} more)", first.unwrap_or_default(), count - 1),
        };
        let builder = Self::new(service, Code::InvalidArgument, reason, message);
        violations.0.iter().fold(builder, |builder, (field, message)| builder.violation(field, message)).build()
    }

    /// A field that is wrong, and what would be right. For `INVALID_ARGUMENT`; call it once per violation.
    #[must_use]
    pub fn violation(mut self, field: impl Into<String>, description: impl Into<String>) -> Self {
        let (field, description) = (cut(field.into()), cut(description.into()));
        if self.fits(field.len() + description.len()) {
            self.details.add_bad_request_violation(field, description);
        }
        self
    }

    /// What has to change first. For `FAILED_PRECONDITION`.
    #[must_use]
    pub fn precondition(mut self, kind: &str, subject: impl Into<String>, description: impl Into<String>) -> Self {
        let (subject, description) = (cut(subject.into()), cut(description.into()));
        if self.fits(kind.len() + subject.len() + description.len()) {
            self.details.add_precondition_failure_violation(kind, subject, description);
        }
        self
    }

    /// What is or is not there. For `NOT_FOUND` and `ALREADY_EXISTS`.
    #[must_use]
    pub fn resource(mut self, kind: &str, name: impl Into<String>) -> Self {
        self.details.set_resource_info(kind, cut(name.into()), "", "");
        self
    }

    /// Which limit is reached. For `RESOURCE_EXHAUSTED`.
    #[must_use]
    pub fn quota(mut self, subject: impl Into<String>, description: impl Into<String>) -> Self {
        let (subject, description) = (cut(subject.into()), cut(description.into()));
        if self.fits(subject.len() + description.len()) {
            self.details.add_quota_failure_violation(subject, description);
        }
        self
    }

    /// When the same call may succeed. For `UNAVAILABLE`; see [`RETRY_DELAY`].
    #[must_use]
    pub fn retry_after(mut self, delay: Duration) -> Self {
        self.details.set_retry_info(Some(delay));
        self
    }

    /// A fact that programs may want, such as the current resource version.
    #[must_use]
    pub fn fact(mut self, key: &str, value: impl Into<String>) -> Self {
        if let Some(info) = self.details.error_info() {
            let (reason, domain, mut metadata) = (info.reason.clone(), info.domain.clone(), info.metadata.clone());
            metadata.insert(key.to_owned(), cut(value.into()));
            self.details.set_error_info(reason, domain, metadata);
        }
        self
    }

    /// The status.
    #[must_use]
    pub fn build(mut self) -> Status {
        if self.left_out > 0 {
            let left_out = self.left_out.to_string();
            self = self.fact(VIOLATIONS_LEFT_OUT, left_out);
        }
        Status::with_error_details(self.code, self.message, self.details)
    }

    /// Whether one violation more has room. The first always has: a cut text is better than none.
    fn fits(&mut self, bytes: usize) -> bool {
        self.violations += 1;
        self.violations_bytes += bytes + VIOLATION_FRAMING_BYTES;
        let all_fit = self.violations <= VIOLATIONS_MAX && self.violations_bytes <= VIOLATIONS_BYTES_MAX;
        let fits = self.violations == 1 || all_fit;
        self.left_out += usize::from(!fits);
        fits
    }
}

/// How a stream ends whose server ends: it may be begun again at once, where it left off.
#[must_use]
pub fn shutting_down(service: &str) -> Status {
    let message = format!("{service} ends: call again, from where this stream left off");
    StatusBuilder::new(service, Code::Unavailable, "SHUTTING_DOWN", message).retry_after(RETRY_DELAY).build()
}

/// The reason a status carries; empty where it has none.
#[must_use]
pub fn reason(status: &Status) -> String {
    status.get_details_error_info().map(|info| info.reason).unwrap_or_default()
}

/// An error and everything that caused it, for a log or a person.
#[must_use]
pub fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let part = error.to_string();
        // Some libraries repeat their cause in their own text.
        if !text.ends_with(&part) {
            text.push_str(": ");
            text.push_str(&part);
        }
        cause = error.source();
    }
    text
}

/// What a panic said, where it said text.
pub(crate) fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or_default()
}

fn cut(mut text: String) -> String {
    if text.len() > TEXT_BYTES_MAX {
        let end = (0..=TEXT_BYTES_MAX).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
        text.truncate(end);
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_detail_arrives() {
        let status = StatusBuilder::new("coordinator", Code::Unavailable, "STORE_UNAVAILABLE", "the disk is full")
            .violation("spec.replicas", "must be 0 or more")
            .precondition("FORBIDDEN_CHANGE", "spec.serviceName", "cannot be changed")
            .resource("StatefulSet", "default/web")
            .quota("objects", "5000 is the most")
            .retry_after(RETRY_DELAY)
            .fact("resourceVersion", "7")
            .build();
        let details = status.get_error_details();
        let info = details.error_info().expect("always there");
        assert_eq!((info.reason.as_str(), info.domain.as_str()), ("STORE_UNAVAILABLE", "coordinator.setkeeper"));
        assert_eq!(info.metadata["resourceVersion"], "7");
        assert_eq!(details.bad_request().expect("set").field_violations[0].field, "spec.replicas");
        assert_eq!(details.precondition_failure().expect("set").violations[0].subject, "spec.serviceName");
        assert_eq!(details.resource_info().expect("set").resource_name, "default/web");
        assert_eq!(details.quota_failure().expect("set").violations[0].subject, "objects");
        assert_eq!(details.retry_info().expect("set").retry_delay, Some(RETRY_DELAY));
        assert_eq!(reason(&status), "STORE_UNAVAILABLE");
    }

    #[test]
    fn an_error_stays_small_enough_for_headers() {
        let mut builder = StatusBuilder::new("coordinator", Code::InvalidArgument, "INVALID_OBJECT", "ä".repeat(9_000));
        for index in 0..1_000 {
            builder = builder.violation(format!("spec.items[{index}]"), "x".repeat(10_000));
        }
        let status = builder.build();
        let mut headers = http::HeaderMap::new();
        status.add_header(&mut headers).expect("it fits");
        let size: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 32).sum();
        assert!(size < 8 * 1024, "{size} bytes");
        assert!(status.message().ends_with('…'));
        assert_eq!(status.get_details_bad_request().map(|all| all.field_violations.len()), Some(1));
        let info = status.get_details_error_info().expect("always there");
        assert_eq!(info.metadata[VIOLATIONS_LEFT_OUT], "999");
    }

    #[test]
    fn a_chain_names_every_cause_once() {
        let error = crate::Error::start("coordinator", std::io::Error::other("disk on fire"));
        assert_eq!(chain(&error), "coordinator failed: disk on fire");
    }

    #[test]
    fn a_message_that_cannot_be_decoded_is_answered_with_every_violation_up_to_the_bound() {
        let mut violations = Violations::default();
        for place in 0..VIOLATIONS_MAX + 10 {
            violations.add(format!("pods[{place}].uid"), "is required");
        }
        let status = StatusBuilder::invalid("test", "INVALID_SNAPSHOT", &violations);
        assert_eq!(status.code(), Code::InvalidArgument);
        assert_eq!(status.message(), "pods[0].uid: is required (and 73 more)");
        let details = status.get_error_details();
        let info = details.error_info().expect("every status has one");
        assert_eq!((info.reason.as_str(), info.domain.as_str()), ("INVALID_SNAPSHOT", "test.setkeeper"));
        assert_eq!(details.bad_request().map(|request| request.field_violations.len()), Some(VIOLATIONS_MAX));
    }
}
