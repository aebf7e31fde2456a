//! What a server refused, in words.

use service_kit::status::VIOLATIONS_LEFT_OUT;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

/// Why a call failed, and what to do about it: one line, and a line for each violation.
#[must_use]
pub(crate) fn explain(status: &Status) -> String {
    let details = status.get_error_details();
    let violations = details.bad_request().map(|request| request.field_violations.as_slice()).unwrap_or_default();
    let preconditions = details.precondition_failure().map(|failure| failure.violations.as_slice()).unwrap_or_default();
    // A message that only sums up the violations says them twice.
    let sums_up = violations.first().is_some_and(|first| status.message().starts_with(&first.description));
    let alone = match (violations, preconditions) {
        ([one], []) => status.message() == one.description && one.description.contains(&one.field),
        ([], [one]) => status.message() == one.description,
        _ => false,
    };
    let message = if sums_up && !alone { "nothing was changed:" } else { status.message() };
    let mut text = match heading(status.code()) {
        "" => format!("error: {message}"),
        heading => format!("Error from server ({heading}): {message}"),
    };
    if alone {
        return text;
    }
    for violation in violations {
        text.push_str(&bullet(&violation.field, &violation.description));
    }
    for violation in preconditions {
        text.push_str(&bullet(&violation.subject, &violation.description));
    }
    if let Some(left_out) = details.error_info().and_then(|info| info.metadata.get(VIOLATIONS_LEFT_OUT)) {
        text.push_str(&bullet("", &format!("and {left_out} more")));
    }
    let quotas = details.quota_failure().map(|failure| failure.violations.as_slice()).unwrap_or_default();
    for violation in quotas {
        text.push_str(&bullet(&violation.subject, &violation.description));
    }
    text
}

fn bullet(field: &str, description: &str) -> String {
    match field {
        "" => format!("\n  * {description}"),
        // Some descriptions name their field themselves.
        field if description.contains(field) => format!("\n  * {description}"),
        field => format!("\n  * {field}: {description}"),
    }
}

/// The word that kubectl has for it.
fn heading(code: Code) -> &'static str {
    match code {
        Code::InvalidArgument => "Invalid",
        Code::NotFound => "NotFound",
        Code::AlreadyExists => "AlreadyExists",
        Code::FailedPrecondition | Code::PermissionDenied => "Forbidden",
        Code::Aborted => "Conflict",
        Code::ResourceExhausted => "TooManyRequests",
        Code::Unauthenticated => "Unauthorized",
        Code::DeadlineExceeded => "Timeout",
        Code::Internal | Code::Unknown | Code::DataLoss => "InternalError",
        Code::OutOfRange => "Expired",
        Code::Unimplemented => "NotImplemented",
        Code::Ok | Code::Cancelled | Code::Unavailable => "",
    }
}

#[cfg(test)]
mod tests {
    use service_kit::status::StatusBuilder;

    use super::*;

    #[test]
    fn every_violation_has_its_line() {
        let status = StatusBuilder::new(
            "coordinator",
            Code::InvalidArgument,
            "INVALID_OBJECT",
            "StatefulSet \"web\" is invalid",
        )
        .violation("spec.replicas", "-1 is below 0: write 0 or more")
        .violation("spec.repicas", "spec.repicas does not exist; did you mean spec.replicas?")
        .violation("", "the document is empty")
        .build();
        insta::assert_snapshot!(explain(&status), @r#"
        Error from server (Invalid): StatefulSet "web" is invalid
          * spec.replicas: -1 is below 0: write 0 or more
          * spec.repicas does not exist; did you mean spec.replicas?
          * the document is empty
        "#);
    }

    #[test]
    fn a_summary_is_not_said_twice() {
        let description = "line 4: StatefulSet \"web\": spec.replicas: must not be negative";
        let status = StatusBuilder::new(
            "coordinator",
            Code::InvalidArgument,
            "INVALID_OBJECT",
            format!("{description}, and 1 more"),
        )
        .violation("spec.replicas", description)
        .build();
        insta::assert_snapshot!(explain(&status), @r#"
        Error from server (Invalid): nothing was changed:
          * line 4: StatefulSet "web": spec.replicas: must not be negative
        "#);
    }

    #[test]
    fn one_violation_is_one_line() {
        let said = "a container name must be specified for pod two, choose one of: a, b";
        let status =
            StatusBuilder::new("pod-runtime", Code::InvalidArgument, "X", said).violation("container", said).build();
        assert_eq!(explain(&status), format!("Error from server (Invalid): {said}"));
    }

    #[test]
    fn what_cannot_be_reached_is_no_answer_of_a_server() {
        let status = Status::unavailable("cannot reach unix:/x: no such file");
        assert_eq!(explain(&status), "error: cannot reach unix:/x: no such file");
        let status = Status::not_found("statefulsets \"web\" not found");
        assert_eq!(explain(&status), "Error from server (NotFound): statefulsets \"web\" not found");
    }
}
