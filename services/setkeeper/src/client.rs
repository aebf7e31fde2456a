//! Talking to the coordinator, and to nothing else.

mod watch;

use std::path::PathBuf;
use std::pin::Pin;

use anyhow::{Context as _, bail};
use api::manifest::Kind;
use api::object;
use api::proto::coordinator::v1::object_service_client::ObjectServiceClient;
use api::proto::coordinator::v1::pod_service_client::PodServiceClient;
use api::proto::coordinator::v1::stateful_set_service_client::StatefulSetServiceClient;
use api::proto::coordinator::v1::system_service_client::SystemServiceClient;
use api::proto::coordinator::v1::{ApplyRequest, ApplyResponse, GetRequest, ListRequest, WatchRequest};
use futures::Stream;
use serde_json::Value;
use service_kit::{Channel, Context, Retry, Role, Target, Token, connect, sized_client, status};
use tonic::Status;

use crate::args::Global;
use crate::data_dir::DataDir;

/// Objects of one page of a list.
const PAGE_SIZE: u32 = 1000;

/// Pages of one list: a million objects, far above what one coordinator keeps.
const PAGES_MAX: usize = 1000;

/// How long an apply may take: a manifest of thousands of objects is checked and stored as one.
const APPLY_DEADLINE: std::time::Duration = std::time::Duration::from_secs(60);

/// A connection to the coordinator.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    channel: Channel,
    target: Target,
    is_local: bool,
}

/// One change that a watch tells of.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Change {
    /// ADDED, MODIFIED, DELETED or BOOKMARK.
    pub(crate) kind: String,
    /// The object after the change; null for a BOOKMARK.
    pub(crate) object: Value,
}

/// Changes, as they come.
pub(crate) type Changes = Pin<Box<dyn Stream<Item = Result<Change, Status>> + Send>>;

/// Objects of a kind, and the revision to watch from.
#[derive(Debug, Clone, Default)]
pub(crate) struct Listed {
    /// The objects, by namespace and name.
    pub(crate) objects: Vec<Value>,
    /// Store revision of the list.
    pub(crate) revision: u64,
}

impl Client {
    /// Finds the coordinator: where `--server` says, else by the socket in the data directory.
    ///
    /// # Errors
    /// The token or the certificate cannot be read.
    pub(crate) fn new(global: &Global) -> anyhow::Result<Self> {
        let data = DataDir::resolve(global.data_dir.as_deref());
        let (target, is_local) = match &global.server {
            Some(target) => (target.clone(), false),
            None => (Target::Unix(local_socket(&data?)), true),
        };
        let token = match (&target, &global.token_file) {
            (_, Some(path)) => Some(Token::load(path)?),
            (Target::Unix(_), None) => None,
            // Without one, the server says what is missing.
            (Target::Tcp(_), None) => {
                DataDir::resolve(global.data_dir.as_deref()).ok().and_then(|data| Token::load(&data.token_file()).ok())
            }
        };
        // At the usual place nobody answers because nothing runs, far more often than because it starts again.
        let retry = if is_local { Retry::QUICK } else { Retry::PATIENT };
        let context = Context { tls: global.tls.identity()?, ..Context::default() };
        let channel = context.connect(Role::Coordinator, &target, token.as_ref()).retrying(retry);
        Ok(Self { channel, target, is_local })
    }

    /// A client of a coordinator in this process.
    #[must_use]
    pub(crate) fn to(target: Target) -> Self {
        Self { channel: connect(&target, None), target, is_local: true }
    }

    /// Objects of every kind.
    #[must_use]
    pub(crate) fn objects(&self) -> ObjectServiceClient<Channel> {
        sized_client!(ObjectServiceClient::new(self.channel.clone()))
    }

    /// Sets.
    #[must_use]
    pub(crate) fn sets(&self) -> StatefulSetServiceClient<Channel> {
        sized_client!(StatefulSetServiceClient::new(self.channel.clone()))
    }

    /// Pods.
    #[must_use]
    pub(crate) fn pods(&self) -> PodServiceClient<Channel> {
        sized_client!(PodServiceClient::new(self.channel.clone()))
    }

    /// The system itself.
    #[must_use]
    pub(crate) fn system(&self) -> SystemServiceClient<Channel> {
        sized_client!(SystemServiceClient::new(self.channel.clone()))
    }

    /// Applies the text of a manifest.
    ///
    /// # Errors
    /// See `ObjectService.Apply`.
    pub(crate) async fn apply(
        &self,
        manifest: String,
        namespace: &str,
        dry_run: bool,
    ) -> Result<ApplyResponse, Status> {
        let request = ApplyRequest { manifest, objects: Vec::new(), namespace: namespace.to_owned(), dry_run };
        let mut request = tonic::Request::new(request);
        request.set_timeout(APPLY_DEADLINE);
        Ok(self.objects().apply(request).await?.into_inner())
    }

    /// One object.
    ///
    /// # Errors
    /// See `ObjectService.Get`.
    pub(crate) async fn get(&self, kind: Kind, namespace: &str, name: &str) -> Result<Value, Status> {
        let namespace = if kind.namespaced() { namespace } else { "" };
        let request =
            GetRequest { kind: kind.name().to_owned(), namespace: namespace.to_owned(), name: name.to_owned() };
        let object = self.objects().get(request).await?.into_inner().object;
        Ok(object.map(object::from_struct).unwrap_or_default())
    }

    /// Every object of a kind; an empty namespace means all.
    ///
    /// # Errors
    /// See `ObjectService.List`.
    pub(crate) async fn list(&self, kind: Kind, namespace: &str, selector: &str) -> Result<Listed, Status> {
        let mut listed = Listed::default();
        let mut page_token = String::new();
        for _ in 0..PAGES_MAX {
            let request = ListRequest {
                kind: kind.name().to_owned(),
                namespace: if kind.namespaced() { namespace.to_owned() } else { String::new() },
                label_selector: selector.to_owned(),
                page_size: PAGE_SIZE,
                page_token,
            };
            let page = self.objects().list(request).await?.into_inner();
            listed.objects.extend(page.objects.into_iter().map(object::from_struct));
            listed.revision = page.revision;
            page_token = page.next_page_token;
            if page_token.is_empty() {
                break;
            }
        }
        Ok(listed)
    }

    /// Changes of a kind after a revision; revision 0 begins with what exists, then a BOOKMARK. Goes on by itself where
    /// the server ends and comes back.
    ///
    /// # Errors
    /// See `ObjectService.Watch`.
    pub(crate) async fn watch(
        &self,
        kind: Kind,
        namespace: &str,
        name: &str,
        selector: &str,
        from_revision: u64,
    ) -> Result<Changes, Status> {
        let request = WatchRequest {
            kind: kind.name().to_owned(),
            namespace: if kind.namespaced() { namespace.to_owned() } else { String::new() },
            label_selector: selector.to_owned(),
            name: name.to_owned(),
            from_revision,
        };
        self.follow(request).await
    }

    /// What to say when a call failed: if nobody answers at the usual place, how to start.
    #[must_use]
    pub(crate) fn explain(&self, status: &Status) -> String {
        if status::reason(status) == "UNREACHABLE" && self.is_local {
            return format!(
                "error: Setkeeper is not running: nobody answers at {}.\nStart it with: setkeeper up",
                self.target
            );
        }
        crate::print::explain(status)
    }

    /// Fails with a hint if nobody answers.
    ///
    /// # Errors
    /// Nobody answers.
    pub(crate) async fn check(&self) -> anyhow::Result<()> {
        match service_kit::health(self.channel.clone()).await {
            Ok(_) => Ok(()),
            Err(status) => bail!("{}", self.explain(&status)),
        }
    }
}

/// Where services are processes of their own, the coordinator's socket has its own name.
fn local_socket(data: &DataDir) -> PathBuf {
    let socket = data.socket();
    let separate = data.path().join("coordinator.sock");
    if !socket.exists() && separate.exists() { separate } else { socket }
}

/// Reads the token that callers of `setkeeper serve` share.
///
/// # Errors
/// It cannot be read or made.
pub(crate) fn shared_token(global: &Global, data: &DataDir) -> anyhow::Result<Token> {
    match &global.token_file {
        Some(path) => Token::load(path).context("the token cannot be used"),
        None => {
            data.create()?;
            Ok(Token::load_or_create(&data.token_file())?)
        }
    }
}
