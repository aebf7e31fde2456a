//! One replica of identity-dns, and what it was told.
//!
//! It is told what is due as soon as it has acknowledged what came before, and asked now and then whether it still serves
//! that: one that was started anew does not, and is told everything. After an error nobody knows what it took, so it is
//! told everything as well, once it answers again.

use std::sync::Arc;
use std::time::Duration;

use api::proto::identity_dns::v1::identity_dns_service_client::IdentityDnsServiceClient;
use api::proto::identity_dns::v1::{GetZoneRequest, PublishRequest};
use domain::zone::{Publication, ZoneFacts};
use service_kit::Channel;
use tonic::{Code, Status};
use tracing::{Instrument as _, Span};

use super::change::{change, everything};
use super::inbox::{Due, Inbox};
use super::{CHECK_EVERY, Names, NotPublished, SILENT_AFTER};

/// Longest check. It costs the replica nothing, so one that takes longer does not answer.
const CHECK_MAX: Duration = Duration::from_secs(1);

/// Wait before a replica that has just failed is told again. Several tries fit into the time for which it is waited for.
const RETRY: Duration = Duration::from_millis(200);

/// Longest publication. A full zone of ten thousand pods takes a fraction of it.
const PUBLISH_MAX: Duration = Duration::from_secs(10);

/// Tells one replica.
pub(super) struct Replica {
    names: Arc<Names>,
    address: String,
    channel: Channel,
    inbox: Arc<Inbox>,
    /// What it was told and has acknowledged; none where that is not known.
    served: Option<Served>,
}

struct Served {
    generation: u64,
    facts: ZoneFacts,
}

impl Replica {
    pub(super) fn new(names: Arc<Names>, channel: Channel, inbox: Arc<Inbox>) -> Self {
        Self { names, address: channel.target().to_owned(), channel, inbox, served: None }
    }

    /// Tells it for ever.
    pub(super) async fn run(mut self) {
        let (names, clock) = (self.names.clone(), self.names.context.clock.clone());
        // Since when it owes an acknowledgement.
        let mut owing = None;
        loop {
            let patience = |since: Duration| SILENT_AFTER.saturating_sub(clock.monotonic().saturating_sub(since));
            let news = self.news(owing.map(patience)).await;
            let due = self.inbox.take();
            let level = due.level;
            let since = *owing.get_or_insert_with(|| clock.monotonic());
            let left = patience(since);
            let address = self.address.clone();
            let told = {
                let cause = due.cause.clone().unwrap_or_else(Span::none);
                let telling = self.tell(&due, !news).instrument(cause);
                tokio::pin!(telling);
                tokio::select! {
                    biased;
                    told = &mut telling => told,
                    () = clock.sleep(left), if !left.is_zero() => {
                        names.silent(&address, 0, &format!("{address} has not answered within {SILENT_AFTER:?}"));
                        telling.await
                    }
                }
            };
            match told {
                Ok(()) => {
                    owing = None;
                    names.acknowledged(&address, level);
                }
                Err(NotPublished(why)) => {
                    self.inbox.give_back(due);
                    if patience(since).is_zero() {
                        names.silent(&address, level.announcement, &why);
                    }
                }
            }
        }
    }

    /// Returns when there is something to do: because of news, or because it is time to ask. A replica that failed, and is
    /// waited for as long as `left`, is left alone for a moment: only time helps.
    async fn news(&self, left: Option<Duration>) -> bool {
        let pause = if left.is_none_or(|left| left.is_zero()) { CHECK_EVERY } else { RETRY };
        tokio::select! {
            biased;
            () = self.inbox.news(), if left.is_none() => true,
            () = self.names.context.clock.sleep(pause) => false,
        }
    }

    async fn tell(&mut self, due: &Due, ask_first: bool) -> Result<(), NotPublished> {
        let told = async {
            if ask_first {
                self.check().await?;
            }
            match self.publish(due).await {
                // It was started anew since.
                Err(status) if status.code() == Code::FailedPrecondition => self.publish(due).await,
                published => published,
            }
        };
        told.await.map_err(|status| NotPublished(status.message().to_owned()))
    }

    /// Whether it still serves what it was told; if not, it is to be told everything.
    async fn check(&mut self) -> Result<(), Status> {
        let mut client = service_kit::sized_client!(IdentityDnsServiceClient::new(self.channel.clone()));
        let zone = self.within(CHECK_MAX, client.get_zone(GetZoneRequest {})).await?;
        // An earlier version does not tell the store.
        let another = !zone.store_id.is_empty() && zone.store_id != self.names.world.store_id();
        self.served.take_if(|served| another || (zone.epoch, zone.generation) != (self.names.epoch, served.generation));
        Ok(())
    }

    /// Brings what it serves to what is stored and announced, for what is due; for all where what it serves is not known.
    async fn publish(&mut self, due: &Due) -> Result<(), Status> {
        let (world, announced) = (&self.names.world, &self.names.announced);
        let served = self.served.take().filter(|_| !due.everything);
        let change = match &served {
            Some(served) => change(world, announced, &served.facts, &due.looked_at),
            None => ZoneFacts::default().change_to(&everything(world, announced)),
        };
        if served.is_some() && change.is_empty() {
            self.served = served;
            return Ok(());
        }
        let (epoch, generation) = (self.names.epoch, self.names.next_generation());
        let publication = Publication {
            operation_id: format!("publish/{epoch}/{generation}"),
            store: world.store_id().to_owned(),
            epoch,
            generation,
            base_generation: served.as_ref().map(|served| served.generation),
            change: change.clone(),
        };
        let mut client = service_kit::sized_client!(IdentityDnsServiceClient::new(self.channel.clone()));
        self.within(PUBLISH_MAX, client.publish(PublishRequest::from(publication))).await?;
        let mut facts = served.map(|served| served.facts).unwrap_or_default();
        facts.apply(change);
        self.served = Some(Served { generation, facts });
        Ok(())
    }

    async fn within<T>(
        &self,
        time: Duration,
        call: impl Future<Output = Result<tonic::Response<T>, Status>>,
    ) -> Result<T, Status> {
        let late = || Status::deadline_exceeded(format!("{} has not answered within {time:?}", self.address));
        tokio::time::timeout(time, call).await.map_err(|_| late())?.map(tonic::Response::into_inner)
    }
}
