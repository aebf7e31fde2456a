//! Who may call what, and the record of it.
//!
//! Nobody may call anything that no rule allows (`rules`). Services are let in by method; users by method, namespace
//! and kind, as the [`Policy`] says. Whoever holds the token of the data directory, opens the Unix socket, or reaches a
//! port that something else guards is the owner of it all: one machine, one person.
//!
//! A server decides what can be decided without reading the request, and hands the rest to the handler as a [`Caller`]
//! among the extensions of the request: the handler asks it for every object it is about to read or change, and tells
//! it what became of a change.

mod audit;
mod caller;
mod policy;
mod rate;
mod rules;

use std::fmt;
use std::time::Duration;

use http::{HeaderMap, header};
use tokio::time::Instant;
use tonic::{Code, Status};

pub use self::audit::{Audit, AuditError, Subject};
pub use self::caller::Caller;
pub use self::policy::{Policy, PolicyError};
use self::rate::Rates;
pub use self::rules::{Rule, Verb, rule};
use crate::role::{Holder, Role};
use crate::status::StatusBuilder;
use crate::token::bearer;

/// Who is let in, and where it is written down.
#[derive(Debug, Clone, Default)]
pub struct Access {
    /// What users may do. None: users may do nothing.
    pub policy: Option<Policy>,
    /// Where changes and refusals are recorded.
    pub audit: Audit,
    rates: Rates,
}

impl Access {
    /// Users who may do what `policy` says, and the record of it.
    #[must_use]
    pub fn new(policy: Option<Policy>, audit: Audit) -> Self {
        Self { policy, audit, rates: Rates::default() }
    }
}

/// Who calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Principal {
    /// Everyone at once: whoever this machine, or what guards the port, lets in.
    Owner,
    /// Somebody with a certificate, or with a token of their own.
    Holder(Holder),
}

impl fmt::Display for Principal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Owner => formatter.write_str("owner"),
            Self::Holder(holder) => holder.fmt(formatter),
        }
    }
}

impl Access {
    /// The user whose token a request carries, if the policy knows it.
    pub(crate) fn user_of(&self, headers: &HeaderMap) -> Option<Principal> {
        let token = bearer(headers.get(header::AUTHORIZATION)?.as_bytes())?;
        let name = self.policy.as_ref()?.now().user_with_token(token)?;
        Some(Principal::Holder(Holder::User(name)))
    }

    /// Whether `principal` may call the method at `path` at all, and, if a user, now. What is asked about objects comes
    /// later.
    pub(crate) fn admit(
        &self,
        service: &'static str,
        path: &str,
        principal: Principal,
        user_calls_per_second: u32,
    ) -> Result<Caller, Status> {
        let rule = rule(path);
        let grants = match &principal {
            Principal::Owner => return Ok(Caller::new(service, principal, rule, None, self.audit.clone())),
            Principal::Holder(Holder::Service(role)) => match rule {
                Some(Rule::Services(roles)) if roles.contains(role) => Vec::new(),
                _ => return self.refuse(service, &principal, path, &may_call(rule)),
            },
            Principal::Holder(Holder::User(name)) => {
                self.rates
                    .take(name, user_calls_per_second, Instant::now())
                    .map_err(|wait| too_often(service, name, wait))?;
                let Some(Rule::Users(verb)) = rule else {
                    return self.refuse(service, &principal, path, &may_call(rule));
                };
                let grants = self.policy.as_ref().map(|policy| policy.now().grants_of(name)).unwrap_or_default();
                if !grants.iter().any(|grant| grant.has(verb)) {
                    let remedy = match self.policy {
                        Some(_) => format!("the policy gives no verb {:?}", verb.name()),
                        None => "this server has no policy, so no user may do anything: start it with --policy".into(),
                    };
                    return self.refuse(service, &principal, path, &remedy);
                }
                grants
            }
        };
        let caller = Caller::new(service, principal, rule, Some(grants), self.audit.clone());
        Ok(caller.bound_by(self.policy.clone()))
    }

    fn refuse(&self, service: &'static str, principal: &Principal, path: &str, why: &str) -> Result<Caller, Status> {
        let method = path.trim_start_matches('/');
        self.audit.refused(service, principal, method, &[]);
        let message = format!("you are {principal} and may not call {method}: {why}{}", WHOM_TO_ASK);
        Err(StatusBuilder::new(service, Code::PermissionDenied, "FORBIDDEN", message).build())
    }
}

fn too_often(service: &str, user: &str, wait: Duration) -> Status {
    let message = format!("user {user:?} calls too often; try again");
    StatusBuilder::new(service, Code::ResourceExhausted, "TOO_MANY_CALLS", message)
        .quota("calls of a user per second", "see --limit user-calls-per-second")
        .retry_after(wait)
        .build()
}

/// End of every refusal.
const WHOM_TO_ASK: &str = "; ask whoever keeps this server's policy and certificates";

fn may_call(rule: Option<Rule>) -> String {
    match rule {
        None => "nobody may".to_owned(),
        Some(Rule::Users(_)) => "only users may".to_owned(),
        Some(Rule::Services(roles)) => {
            let names: Vec<_> = roles.iter().copied().map(Role::name).collect();
            format!("only {} may", names.join(" and "))
        }
    }
}
