//! `StatefulSetService`.

use std::sync::Arc;

use api::manifest::{self, Kind};
use api::proto::coordinator::v1::stateful_set_service_server::StatefulSetService;
use api::proto::coordinator::v1::{
    ApplyStatefulSetRequest, ApplyStatefulSetResponse, DeleteStatefulSetRequest, DeleteStatefulSetResponse,
    GetStatefulSetRequest, GetStatefulSetResponse, HistoryStatefulSetRequest, HistoryStatefulSetResponse,
    ListStatefulSetsRequest, ListStatefulSetsResponse, PauseStatefulSetRequest, PauseStatefulSetResponse,
    RestartStatefulSetRequest, RestartStatefulSetResponse, ResumeStatefulSetRequest, ResumeStatefulSetResponse,
    RolloutStatusRequest, RolloutStatusResponse, ScaleStatefulSetRequest, ScaleStatefulSetResponse,
    UndoStatefulSetRequest, UndoStatefulSetResponse, UpdateStatefulSetStatusRequest, UpdateStatefulSetStatusResponse,
    WatchStatefulSetsRequest, WatchStatefulSetsResponse,
};
use serde_json::Value;
use service_kit::access::Caller;
use service_kit::status::StatusBuilder;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Request, Response, Status};

use super::page::{Filter, page};
use super::watch::watch;
use super::{Deletion, Front, cut_off, expected, namespace, rollout, scaled, visible};
use crate::apply::{Application, refused};
use crate::error::SERVICE;
use crate::world::{Key, Object};

#[tonic::async_trait]
impl StatefulSetService for Front {
    type RolloutStatusStream = ReceiverStream<Result<RolloutStatusResponse, Status>>;
    type WatchStream = ReceiverStream<Result<WatchStatefulSetsResponse, Status>>;

    async fn apply(
        &self,
        request: Request<ApplyStatefulSetRequest>,
    ) -> Result<Response<ApplyStatefulSetResponse>, Status> {
        let caller = Caller::of(&request)?;
        let request = request.into_inner();
        let application = Application::one(Kind::StatefulSet, request.stateful_set, request.dry_run)?;
        let mut applied = self.apply(&caller, application).await?;
        let one = applied.objects.remove(0);
        Ok(Response::new(ApplyStatefulSetResponse {
            stateful_set: Some(api::object::to_struct(&one.value)),
            result: one.result.to_owned(),
            warnings: applied.warnings,
        }))
    }

    async fn get(&self, request: Request<GetStatefulSetRequest>) -> Result<Response<GetStatefulSetResponse>, Status> {
        let caller = Caller::of(&request)?;
        let request = request.into_inner();
        let key = key(&request.namespace, &request.name);
        caller.may(key.kind, &key.namespace)?;
        let set = self.get(&key)?;
        Ok(Response::new(GetStatefulSetResponse { stateful_set: Some(visible(&set)) }))
    }

    async fn list(
        &self,
        request: Request<ListStatefulSetsRequest>,
    ) -> Result<Response<ListStatefulSetsResponse>, Status> {
        let caller = Caller::of(&request)?;
        let request = request.into_inner();
        let filter = Filter::new(&caller, Kind::StatefulSet, &request.namespace, &request.label_selector, "")?;
        let page = page(&self.world, &filter, request.page_size, &request.page_token)?;
        Ok(Response::new(ListStatefulSetsResponse {
            stateful_sets: page.objects.iter().map(|set| visible(set)).collect(),
            next_page_token: page.next,
            revision: page.revision,
        }))
    }

    async fn watch(&self, request: Request<WatchStatefulSetsRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let caller = Caller::of(&request)?;
        let request = request.into_inner();
        let filter =
            Filter::new(&caller, Kind::StatefulSet, &request.namespace, &request.label_selector, &request.name)?;
        let tell = |told: super::watch::Told| WatchStatefulSetsResponse {
            r#type: told.kind.to_owned(),
            stateful_set: told.object,
            revision: told.revision,
        };
        let cut = cut_off(self.context.clone(), caller, filter.kind, filter.namespace.clone());
        Ok(Response::new(watch(self.world.clone(), filter, request.from_revision, cut, tell).await?))
    }

    async fn delete(
        &self,
        request: Request<DeleteStatefulSetRequest>,
    ) -> Result<Response<DeleteStatefulSetResponse>, Status> {
        let caller = Caller::of(&request)?;
        let request = request.into_inner();
        let deletion = Deletion { uid: request.uid, cascade: request.cascade, ..Deletion::default() };
        let set = self.delete(&caller, key(&request.namespace, &request.name), deletion).await?;
        Ok(Response::new(DeleteStatefulSetResponse { stateful_set: Some(visible(&set)) }))
    }

    async fn scale(
        &self,
        request: Request<ScaleStatefulSetRequest>,
    ) -> Result<Response<ScaleStatefulSetResponse>, Status> {
        let caller = Caller::of(&request)?;
        let request = request.into_inner();
        let (this, key) = (self.clone(), key(&request.namespace, &request.name));
        let (set, _) = self.change(&caller, &key, async move { this.scale_set(&request).await }).await?;
        Ok(Response::new(ScaleStatefulSetResponse { stateful_set: Some(visible(&set)) }))
    }

    async fn update_status(
        &self,
        request: Request<UpdateStatefulSetStatusRequest>,
    ) -> Result<Response<UpdateStatefulSetStatusResponse>, Status> {
        let caller = Caller::of(&request)?;
        let request = request.into_inner();
        let (this, key) = (self.clone(), key(&request.namespace, &request.name));
        let (set, changed) = self.change(&caller, &key, async move { this.write_status(request).await }).await?;
        Ok(Response::new(UpdateStatefulSetStatusResponse { stateful_set: Some(visible(&set)), changed }))
    }

    async fn restart(
        &self,
        request: Request<RestartStatefulSetRequest>,
    ) -> Result<Response<RestartStatefulSetResponse>, Status> {
        let caller = Caller::of(&request)?;
        let request = request.into_inner();
        let (this, key) = (self.clone(), key(&request.namespace, &request.name));
        let named = key.clone();
        let change = async move { this.restart_set(&key, &request.resource_version).await };
        let (set, _) = self.change(&caller, &named, change).await?;
        Ok(Response::new(RestartStatefulSetResponse { stateful_set: Some(visible(&set)) }))
    }

    async fn undo(
        &self,
        request: Request<UndoStatefulSetRequest>,
    ) -> Result<Response<UndoStatefulSetResponse>, Status> {
        let caller = Caller::of(&request)?;
        let (this, request) = (self.clone(), request.into_inner());
        let key = key(&request.namespace, &request.name);
        let (undone, _) = self.change(&caller, &key, async move { this.undo_set(&request).await }).await?;
        Ok(Response::new(UndoStatefulSetResponse {
            stateful_set: Some(undone.set),
            result: undone.result.to_owned(),
            revision: undone.revision,
        }))
    }

    async fn pause(
        &self,
        request: Request<PauseStatefulSetRequest>,
    ) -> Result<Response<PauseStatefulSetResponse>, Status> {
        let caller = Caller::of(&request)?;
        let request = request.into_inner();
        let (this, key) = (self.clone(), key(&request.namespace, &request.name));
        let named = key.clone();
        let change = async move { this.pause_set(&key, &request.resource_version, true).await };
        let (set, changed) = self.change(&caller, &named, change).await?;
        Ok(Response::new(PauseStatefulSetResponse { stateful_set: Some(visible(&set)), changed }))
    }

    async fn resume(
        &self,
        request: Request<ResumeStatefulSetRequest>,
    ) -> Result<Response<ResumeStatefulSetResponse>, Status> {
        let caller = Caller::of(&request)?;
        let request = request.into_inner();
        let (this, key) = (self.clone(), key(&request.namespace, &request.name));
        let named = key.clone();
        let change = async move { this.pause_set(&key, &request.resource_version, false).await };
        let (set, changed) = self.change(&caller, &named, change).await?;
        Ok(Response::new(ResumeStatefulSetResponse { stateful_set: Some(visible(&set)), changed }))
    }

    async fn history(
        &self,
        request: Request<HistoryStatefulSetRequest>,
    ) -> Result<Response<HistoryStatefulSetResponse>, Status> {
        let caller = Caller::of(&request)?;
        let request = request.into_inner();
        let key = key(&request.namespace, &request.name);
        caller.may(key.kind, &key.namespace)?;
        let revisions = self.history_of(&request)?;
        Ok(Response::new(HistoryStatefulSetResponse { revisions }))
    }

    async fn rollout_status(
        &self,
        request: Request<RolloutStatusRequest>,
    ) -> Result<Response<Self::RolloutStatusStream>, Status> {
        let caller = Caller::of(&request)?;
        let request = request.into_inner();
        let key = key(&request.namespace, &request.name);
        caller.may(key.kind, &key.namespace)?;
        Ok(Response::new(rollout::follow(self, caller, &key, request.once)?))
    }
}

impl Front {
    async fn scale_set(&self, request: &ScaleStatefulSetRequest) -> Result<(Arc<Object>, bool), Status> {
        let key = key(&request.namespace, &request.name);
        let scale = |set: &Object| {
            expected(set, &request.uid, &request.resource_version)?;
            let now = set.value.pointer("/spec/replicas").and_then(Value::as_i64).unwrap_or(1);
            if let Some(wanted) = request.current_replicas.filter(|wanted| i64::from(*wanted) != now) {
                let message = format!("expected replicas to be {wanted}, was {now}");
                let status = StatusBuilder::new(SERVICE, Code::FailedPrecondition, "FORBIDDEN_CHANGE", message.clone());
                return Err(status.precondition("REPLICAS", key.name.clone(), message).build());
            }
            let changed = scaled(set, request.replicas, self.now());
            changed.iter().try_for_each(|value| self.admitted(set, value))?;
            Ok(changed)
        };
        self.commit_change(&key, scale).await
    }

    async fn write_status(&self, request: UpdateStatefulSetStatusRequest) -> Result<(Arc<Object>, bool), Status> {
        let key = key(&request.namespace, &request.name);
        let given = request.status.map(api::object::from_struct).unwrap_or_default();
        let write = |set: &Object| {
            expected(set, &request.uid, &request.resource_version)?;
            let status = manifest::admit_status(&set.value, &given);
            let status = status.map_err(|found| refused(Code::InvalidArgument, "INVALID_OBJECT", &found))?;
            let mut value = set.value.clone();
            value["status"] = status;
            Ok((value != set.value).then_some(value))
        };
        self.commit_change(&key, write).await
    }
}

pub(super) fn key(of_request: &str, name: &str) -> Key {
    Key::new(Kind::StatefulSet, namespace(of_request), name)
}
