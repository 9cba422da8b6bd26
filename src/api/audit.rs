//! Who changed the configuration: `GET /api/v1/audit`.

use actix_web::{HttpRequest, HttpResponse, web};
use serde::Serialize;
use serde_json::Value;
use utoipa::{OpenApi, ToSchema};
use uuid::Uuid;

use super::{
    Api,
    auth::Admin,
    error::ApiError,
    listing::{ListQuery, Listing},
    table::Call,
};
use crate::{
    domain::{id::AuditId, time::Timestamp},
    store::audit::AuditRow,
};

pub(super) const CALLS: &[Call] = &[Call::get("/api/v1/audit", || web::to(list))];

/// What is documented of this file.
#[derive(Debug, OpenApi)]
#[openapi(paths(list))]
pub(super) struct Documented;

/// One change of the configuration.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AuditEntry)]
pub(super) struct AuditView {
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
    /// `create`, `update`, `delete`, `rotate` or `revoke`.
    #[schema(example = "rotate")]
    action: String,
    object: AuditObject,
    /// What changed. Never a secret.
    #[schema(value_type = Object)]
    detail: Value,
}

/// What was changed; it may be gone by now.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct AuditObject {
    /// `service`, `integration` or `token`.
    #[schema(example = "integration")]
    kind: String,
    id: Uuid,
    name: String,
}

impl From<AuditRow> for AuditView {
    fn from(row: AuditRow) -> Self {
        let AuditRow {
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
    responses((status = 200, description = "Newest first", body = Listing<AuditView>)),
)]
async fn list(
    _: Admin,
    request: HttpRequest,
    api: web::Data<Api>,
) -> Result<HttpResponse, ApiError> {
    let query = ListQuery::read(&request, &[])?;
    let before = query.before.map(|id| AuditId::from_uuid(id).seq());
    let limit = u32::try_from(query.limit).unwrap_or(u32::MAX);
    // One more than asked for tells whether there is a next page.
    let mut rows = api.store.audit_before(before, limit.saturating_add(1)).await?;
    let total = if query.count { Some(api.store.audit_count().await?) } else { None };
    let more = rows.len() > query.limit;
    rows.truncate(query.limit);
    let next_cursor = rows.last().filter(|_| more).map(|last| last.id.to_string());
    let items: Vec<AuditView> = rows.into_iter().map(AuditView::from).collect();
    Ok(HttpResponse::Ok().json(Listing { items, next_cursor, total }))
}
