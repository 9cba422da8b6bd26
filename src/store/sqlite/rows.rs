//! Rows into values. A value that makes no sense is reported with its table and column.

use sqlx::{Decode, Row, Sqlite, Type, sqlite::SqliteRow};
use uuid::Uuid;

use super::{Names, StoreError};
use crate::domain::{
    alert::{Alert, ContentRef, Dues, Status},
    event::Severity,
    id::{AlertId, ContentSeq, EventSeq, IncidentId, RuleId},
    incident::{GroupKey, Incident, Notices, OpenAlerts},
    key::DedupKey,
    standing::Standing,
    time::Timestamp,
};

/// Reads the columns of a row one after the other.
pub(super) struct Columns<'r> {
    row: &'r SqliteRow,
    next: usize,
    table: &'static str,
}

impl<'r> Columns<'r> {
    pub(super) fn of(row: &'r SqliteRow, table: &'static str) -> Self {
        Self { row, next: 0, table }
    }

    pub(super) fn read<T: Decode<'r, Sqlite> + Type<Sqlite>>(
        &mut self,
        column: &'static str,
    ) -> Result<T, StoreError> {
        let at = self.next;
        self.next += 1;
        self.row.try_get(at).map_err(|error| self.corrupt(column, error.to_string()))
    }

    pub(super) fn corrupt(&self, column: &'static str, detail: String) -> StoreError {
        StoreError::Corrupt { table: self.table, column, detail }
    }

    pub(super) fn time(&mut self, column: &'static str) -> Result<Timestamp, StoreError> {
        Ok(Timestamp::from_millis(self.read(column)?))
    }

    pub(super) fn time_or_none(
        &mut self,
        column: &'static str,
    ) -> Result<Option<Timestamp>, StoreError> {
        Ok(self.read::<Option<i64>>(column)?.map(Timestamp::from_millis))
    }

    pub(super) fn number<T: TryFrom<i64>>(
        &mut self,
        column: &'static str,
    ) -> Result<T, StoreError> {
        let number: i64 = self.read(column)?;
        T::try_from(number).map_err(|_| self.corrupt(column, number.to_string()))
    }

    /// A text that names one of a closed set.
    pub(super) fn named<T>(
        &mut self,
        column: &'static str,
        parse: fn(&str) -> Option<T>,
    ) -> Result<T, StoreError> {
        let text: &str = self.read(column)?;
        parse(text).ok_or_else(|| self.corrupt(column, format!("{text:?}")))
    }

    /// Looks a referenced row's id up among the few that are known by heart.
    pub(super) fn known<T: Copy>(
        &mut self,
        column: &'static str,
        known: impl Fn(i64) -> Option<T>,
    ) -> Result<T, StoreError> {
        let seq: i64 = self.read(column)?;
        known(seq).ok_or_else(|| self.corrupt(column, format!("no row {seq}")))
    }
}

/// Reads an alert.
pub(super) fn alert(row: &SqliteRow, names: &Names) -> Result<Alert, StoreError> {
    let mut c = Columns::of(row, "alerts");
    let _seq: i64 = c.read("seq")?;
    let id = AlertId::from_uuid(c.read::<Uuid>("id")?);
    let integration_id = c.known("integration_seq", |seq| names.integration(seq))?;
    let service_id = c.known("service_seq", |seq| names.service(seq))?;
    let incident_id = c.read::<Option<Uuid>>("incident_seq")?.map(IncidentId::from_uuid);
    let key: &str = c.read("dedup_key")?;
    let dedup_key = DedupKey::parse(key).map_err(|e| c.corrupt("dedup_key", e.to_string()))?;
    let mut alert = Alert {
        id,
        integration_id,
        service_id,
        incident_id,
        dedup_key,
        generated_key: c.read("generated_key")?,
        status: c.named("status", Status::parse)?,
        severity: c.named("severity", Severity::parse)?,
        max_severity: c.named("max_severity", Severity::parse)?,
        event_count: c.number("event_count")?,
        event_at: c.time("event_at_ms")?,
        first_event_at: c.time("first_event_at_ms")?,
        last_event_at: c.time("last_event_at_ms")?,
        acknowledged_at: c.time_or_none("acknowledged_at_ms")?,
        resolved_at: c.time_or_none("resolved_at_ms")?,
        last_event: EventSeq(c.read("last_event_seq")?),
        content: ContentRef {
            id: ContentSeq(c.read("content_seq")?),
            hash: c.read("content_hash")?,
            text: ContentSeq(c.read("text_seq")?),
            text_hash: c.read("text_hash")?,
        },
        dues: Dues {
            auto_resolve: c.time_or_none("auto_resolve_due_ms")?,
            ack_timeout: c.time_or_none("ack_timeout_due_ms")?,
            judge: None,
        },
        standing: {
            let stored = c.read("standing")?;
            Standing::from_stored(stored).map_err(|what| c.corrupt("standing", what))?
        },
        flapping: c.read("flapping")?,
        stale: c.read("stale")?,
    };
    alert.dues.judge = c.time_or_none("judge_due_ms")?;
    Ok(alert)
}

/// The hashes under which an incident is found.
pub(super) fn hashes(c: &mut Columns<'_>) -> Result<Vec<i64>, StoreError> {
    let stored: Option<&str> = c.read("group_hashes")?;
    let hashes = stored.map(serde_json::from_str).transpose();
    Ok(hashes.map_err(|error| c.corrupt("group_hashes", error.to_string()))?.unwrap_or_default())
}

/// Reads an incident.
pub(super) fn incident(row: &SqliteRow, names: &Names) -> Result<Incident, StoreError> {
    let mut c = Columns::of(row, "incidents");
    let _seq: i64 = c.read("seq")?;
    let id = IncidentId::from_uuid(c.read::<Uuid>("id")?);
    let service_id = c.known("service_seq", |seq| names.service(seq))?;
    let rule: Option<Uuid> = c.read("rule_id")?;
    let shown: Option<String> = c.read("group_key")?;
    let hashes = hashes(&mut c)?;
    let group = rule.zip(shown);
    let group =
        group.map(|(rule, shown)| GroupKey { rule: RuleId::from_uuid(rule), hashes, shown });
    Ok(Incident {
        id,
        service_id,
        group,
        title: c.read("title")?,
        status: c.named("status", Status::parse)?,
        severity: c.named("severity", Severity::parse)?,
        max_severity: c.named("max_severity", Severity::parse)?,
        alert_count: c.number("alert_count")?,
        open: OpenAlerts {
            info: c.number("open_info")?,
            warning: c.number("open_warning")?,
            error: c.number("open_error")?,
            critical: c.number("open_critical")?,
        },
        created_at: c.time("created_at_ms")?,
        last_alert_at: c.time("last_alert_at_ms")?,
        acknowledged_at: c.time_or_none("acknowledged_at_ms")?,
        acknowledged_by: c.read("acknowledged_by")?,
        acknowledged_severity: c
            .read::<Option<&str>>("acknowledged_severity")?
            .and_then(Severity::parse),
        resolved_at: c.time_or_none("resolved_at_ms")?,
        due: c.time_or_none("due_ms")?,
        snoozed_until: c.time_or_none("snoozed_until_ms")?,
        assignee: c.read("assignee")?,
        storm: c.read("storm")?,
        notices: {
            let stored = c.read("notices")?;
            Notices::from_stored(stored).map_err(|what| c.corrupt("notices", what))?
        },
    })
}
