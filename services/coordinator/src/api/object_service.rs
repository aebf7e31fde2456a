//! `ObjectService`: objects of every kind.

use api::proto::coordinator::v1::object_service_server::ObjectService;
use api::proto::coordinator::v1::{
    AppliedObject, ApplyRequest, ApplyResponse, DeleteRequest, DeleteResponse, GetRequest, GetResponse, ListRequest,
    ListResponse, WatchRequest, WatchResponse,
};
use service_kit::access::Caller;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use super::page::{Filter, page};
use super::watch::watch;
use super::{Deletion, Front, cut_off, kind, namespace, visible};
use crate::apply::{Application, Input};
use crate::world::Key;

#[tonic::async_trait]
impl ObjectService for Front {
    type WatchStream = ReceiverStream<Result<WatchResponse, Status>>;

    async fn apply(&self, request: Request<ApplyRequest>) -> Result<Response<ApplyResponse>, Status> {
        let caller = Caller::of(&request)?;
        let request = request.into_inner();
        let input = match (request.manifest.is_empty(), request.objects.is_empty()) {
            (false, true) => Input::Text(request.manifest),
            (true, false) => Input::Objects(request.objects.into_iter().map(api::object::from_struct).collect()),
            _ => {
                let message = "give either manifest (YAML or JSON text) or objects";
                return Err(crate::error::invalid_argument("INVALID_MANIFEST", message));
            }
        };
        let application =
            Application { input, namespace: namespace(&request.namespace).to_owned(), dry_run: request.dry_run };
        let applied = self.apply(&caller, application).await?;
        let objects = applied.objects.iter().map(|one| AppliedObject {
            object: Some(api::object::to_struct(&one.value)),
            result: one.result.to_owned(),
        });
        Ok(Response::new(ApplyResponse {
            objects: objects.collect(),
            warnings: applied.warnings,
            revision: applied.revision.0,
        }))
    }

    async fn get(&self, request: Request<GetRequest>) -> Result<Response<GetResponse>, Status> {
        let caller = Caller::of(&request)?;
        let request = request.into_inner();
        let key = Key::new(kind(&request.kind)?, namespace(&request.namespace), &request.name);
        caller.may(key.kind, &key.namespace)?;
        Ok(Response::new(GetResponse { object: Some(visible(&*self.get(&key)?)) }))
    }

    async fn list(&self, request: Request<ListRequest>) -> Result<Response<ListResponse>, Status> {
        let caller = Caller::of(&request)?;
        let request = request.into_inner();
        let filter = Filter::new(&caller, kind(&request.kind)?, &request.namespace, &request.label_selector, "")?;
        let page = page(&self.world, &filter, request.page_size, &request.page_token)?;
        Ok(Response::new(ListResponse {
            objects: page.objects.iter().map(|object| visible(object)).collect(),
            next_page_token: page.next,
            revision: page.revision,
        }))
    }

    async fn watch(&self, request: Request<WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let caller = Caller::of(&request)?;
        let request = request.into_inner();
        let filter =
            Filter::new(&caller, kind(&request.kind)?, &request.namespace, &request.label_selector, &request.name)?;
        let tell = |told: super::watch::Told| WatchResponse {
            r#type: told.kind.to_owned(),
            object: told.object,
            revision: told.revision,
        };
        let cut = cut_off(self.context.clone(), caller, filter.kind, filter.namespace.clone());
        Ok(Response::new(watch(self.world.clone(), filter, request.from_revision, cut, tell).await?))
    }

    async fn delete(&self, request: Request<DeleteRequest>) -> Result<Response<DeleteResponse>, Status> {
        let caller = Caller::of(&request)?;
        let request = request.into_inner();
        let key = Key::new(kind(&request.kind)?, namespace(&request.namespace), &request.name);
        let deletion = Deletion {
            uid: request.uid,
            resource_version: request.resource_version,
            grace_period_seconds: request.grace_period_seconds,
            cascade: request.cascade,
            within_budget: request.within_budget,
        };
        Ok(Response::new(DeleteResponse { object: Some(visible(&*self.delete(&caller, key, deletion).await?)) }))
    }
}
