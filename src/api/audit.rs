//! Who changed the configuration: `GET /api/v1/audit`.

use actix_web::{HttpRequest, HttpResponse, web};
use serde::Serialize;
use utoipa::{OpenApi, ToSchema};
use uuid::Uuid;

use super::{
    Api,
    auth::Admin,
    error::ApiError,
    params::Params,
    render::{self, List},
    table::Call,
};
use crate::{
    domain::{id::AuditId, time::Timestamp},
    store::query::{
        Listed,
        views::{AuditView, Raw},
    },
};

pub(super) const CALLS: &[Call] = &[Call::get("/api/v1/audit", || web::to(list))];

/// What is documented of this file.
#[derive(Debug, OpenApi)]
#[openapi(paths(list))]
pub(super) struct Documented;

/// One change of the configuration.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct AuditEntry {
    #[schema(value_type = String, format = Uuid)]
    id: AuditId,
    #[schema(value_type = String, format = DateTime)]
    at: Timestamp,
    /// `token:NAME`, or `start` for what the gateway does by its settings.
    #[schema(example = "token:admin")]
    actor: String,
    /// From where; null if it came over no network.
    #[schema(required)]
    address: Option<String>,
    /// `create`, `update`, `delete`, `rotate`, `revoke` or `expire`.
    #[schema(example = "rotate")]
    action: String,
    object: AuditObject,
    /// What changed. Never a secret.
    #[schema(value_type = Object)]
    detail: Raw,
}

/// What was changed; it may be gone by now.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct AuditObject {
    /// `service`, `integration`, `silence`, `route`, `receiver` or `token`.
    #[schema(example = "integration")]
    kind: String,
    id: Uuid,
    name: String,
}

impl From<AuditView> for AuditEntry {
    fn from(row: AuditView) -> Self {
        let AuditView {
            id,
            at,
            actor,
            address,
            action,
            object_kind: kind,
            object_id,
            object_name: name,
            detail,
        } = row;
        let object = AuditObject { kind, id: object_id, name };
        Self { id, at, actor, address, action, object, detail }
    }
}

/// List changes of the configuration
///
/// Every one, with who made it, when and from where. Needs the role admin.
#[utoipa::path(
    get, path = "/api/v1/audit", tag = "audit", operation_id = "list_audit",
    params(
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 500, description = "Items on a page; 50 unless given"),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before"),
        ("count" = Option<bool>, Query, description = "Adds `total`"),
    ),
    responses((status = 200, description = "Newest first", body = List<AuditEntry>)),
)]
async fn list(
    _: Admin,
    request: HttpRequest,
    api: web::Data<Api>,
) -> Result<HttpResponse, ApiError> {
    let asked = Params::of_list(request.path(), request.query_string(), &[]).page()?;
    let Listed { items, next, total } = api.store.audit(asked.page).await?;
    let items: Vec<AuditEntry> = items.into_iter().map(AuditEntry::from).collect();
    Ok(render::list(&asked, Listed { items, next, total }))
}
