//! Who calls, as a handler sees them.

use std::time::Duration;

use api::manifest::Kind;
use tonic::{Code, Request, Status};

use super::audit::{Audit, Subject};
use super::policy::{Grant, Policy};
use super::rules::{Rule, Verb};
use super::{Principal, WHOM_TO_ASK};
use crate::role::Holder;
use crate::status::StatusBuilder;

/// Who makes a call, what they may do in it, and where it is recorded.
#[derive(Debug, Clone)]
pub struct Caller {
    service: &'static str,
    principal: Principal,
    rule: Option<Rule>,
    /// None: everything.
    grants: Option<Vec<Grant>>,
    /// Where the grants of a user come from.
    policy: Option<Policy>,
    audit: Audit,
}

/// How often a call that goes on asks whether it still may.
const ASK_INTERVAL: Duration = Duration::from_secs(5);

impl Caller {
    pub(super) fn new(
        service: &'static str,
        principal: Principal,
        rule: Option<Rule>,
        grants: Option<Vec<Grant>>,
        audit: Audit,
    ) -> Self {
        Self { service, principal, rule, grants, policy: None, audit }
    }

    /// The policy that a user is bound by, who may lose grants while the call goes on.
    pub(super) fn bound_by(self, policy: Option<Policy>) -> Self {
        Self { policy, ..self }
    }

    /// The caller of a request that came through a [`Server`](crate::Server).
    ///
    /// # Errors
    /// It came another way: nobody knows whose it is, so nothing is allowed.
    pub fn of<T>(request: &Request<T>) -> Result<Self, Status> {
        let caller = request.extensions().get::<Self>().cloned();
        caller.ok_or_else(|| Status::permission_denied("this call came without a caller"))
    }

    /// Who it is.
    #[must_use]
    pub fn principal(&self) -> &Principal {
        &self.principal
    }

    /// Whether the caller may do this to objects of a kind in a namespace. An empty namespace means all of them, or
    /// objects that are in none.
    ///
    /// # Errors
    /// `PERMISSION_DENIED` (`FORBIDDEN`), which says who the caller is, what is missing, and whom to ask.
    pub fn may(&self, kind: Kind, namespace: &str) -> Result<(), Status> {
        let namespace = if kind.namespaced() { namespace } else { "" };
        self.allowed(Some(kind), namespace).map_err(|()| {
            let what = if namespace.is_empty() {
                "in every namespace".to_owned()
            } else {
                format!("in namespace {namespace:?}")
            };
            let subject = Subject { kind: kind.to_string(), namespace: namespace.to_owned(), ..Subject::default() };
            self.refused(&[subject], &format!("{} objects {what}", kind.name()))
        })
    }

    /// Whether the caller may do what is about no object, but about everything.
    ///
    /// # Errors
    /// As [`Caller::may`].
    pub fn may_everywhere(&self) -> Result<(), Status> {
        self.allowed(None, "").map_err(|()| self.refused(&[], "in every namespace"))
    }

    /// Ends when the policy no longer lets the caller do this, with the refusal: for calls that go on. It is asked every few
    /// seconds; of a caller whom no policy binds it never ends.
    pub async fn withdrawn(mut self, kind: Kind, namespace: String) -> Status {
        let (Some(policy), Principal::Holder(Holder::User(user))) = (self.policy.clone(), self.principal.clone())
        else {
            return std::future::pending().await;
        };
        loop {
            tokio::time::sleep(ASK_INTERVAL).await;
            self.grants = Some(policy.now().grants_of(&user));
            if let Err(refused) = self.may(kind, &namespace) {
                return refused;
            }
        }
    }

    /// Records a change that the caller asked for, and what became of it. A refusal is recorded where it is made.
    pub fn record<T>(&self, subjects: &[Subject], outcome: &Result<T, Status>) {
        if outcome.as_ref().is_err_and(|status| status.code() == Code::PermissionDenied) {
            return;
        }
        let outcome = outcome.as_ref().map(|_| ());
        self.audit.changed(self.service, &self.principal, self.verb(), subjects, outcome);
    }

    fn allowed(&self, kind: Option<Kind>, namespace: &str) -> Result<(), ()> {
        let Some(grants) = &self.grants else { return Ok(()) };
        let Some(Rule::Users(verb)) = self.rule else { return Err(()) };
        if grants.iter().any(|grant| grant.covers(verb, kind, namespace)) { Ok(()) } else { Err(()) }
    }

    fn verb(&self) -> &'static str {
        match self.rule {
            Some(Rule::Users(verb)) => Verb::name(verb),
            Some(Rule::Services(_)) | None => "call",
        }
    }

    fn refused(&self, subjects: &[Subject], what: &str) -> Status {
        self.audit.refused(self.service, &self.principal, self.verb(), subjects);
        let (principal, verb) = (&self.principal, self.verb());
        let message = format!("you are {principal} and the policy does not give you {verb:?} of {what}{WHOM_TO_ASK}");
        StatusBuilder::new(self.service, Code::PermissionDenied, "FORBIDDEN", message).build()
    }
}
