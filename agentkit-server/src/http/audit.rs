//! `GET /audit`: who did what, for those who may know.

use super::admit::Run;
use super::body::Parameters;
use super::paging;
use super::problem::Problem;
use super::state::{Audit, Permit};
use super::wire::{AuditPage, ListAudit};

/// The audit trail of the tenant, oldest first, in pages.
#[utoipa::path(
    get,
    path = "/audit",
    tag = "audit",
    params(ListAudit),
    responses(
        (status = 200, description = "A page of the trail", body = AuditPage),
        (status = "default", description = "A problem", body = super::problem::ProblemDocument,
            content_type = "application/problem+json"),
    ),
)]
pub(super) async fn list(
    permit: Permit<Audit>,
    run: Run,
    Parameters(page): Parameters<ListAudit>,
) -> Result<axum::Json<AuditPage>, Problem> {
    let limit = paging::length(page.limit)?;
    let scope = permit.tenant();
    let audit = permit.audit();
    if page.newest == Some(true) {
        let mut records = run.ctx.run(audit.newest(&scope, limit, &run.ctx)).await?;
        records.retain(|record| Some(record.seq) > page.after);
        return Ok(axum::Json(AuditPage { records, next: None }));
    }
    let records = run.ctx.run(audit.list(&scope, page.after.unwrap_or(0), limit, &run.ctx)).await?;
    // The store lists no more than the longest page, so that there is more shows only from a full one.
    let next = records.last().filter(|_| records.len() == limit).map(|last| last.seq);
    Ok(axum::Json(AuditPage { records, next }))
}
