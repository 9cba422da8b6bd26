//! How SQLite carries out the statements: none that is meant to use an index scans a table.

use sqlx::Row;

use super::*;
use crate::store::{
    outbox::{DeliveryFilter, DeliveryState},
    query::{IncidentRef, NoiseFilter},
    sqlite::{
        maintenance,
        query::{
            alerts::{AlertScan, Source},
            deliveries::DeliveryScan,
            events, incidents, logs, noise, search, similar, standing,
            walk::{Scan, Sql, push_span},
        },
    },
};

fn refuse_scans(plan: &[String], what: &str) {
    const TABLES: [&str; 10] = [
        "alerts",
        "events",
        "contents",
        "incidents",
        "changes",
        "hourly_counts",
        "inhibitors",
        "key_states",
        "deliveries",
        "templates",
    ];
    const SHORT: [&str; 12] = ["a", "e", "c", "i", "t", "d", "b", "x", "h", "n", "k", "timeline"];
    for line in plan {
        let Some(rest) = line.strip_prefix("SCAN ") else { continue };
        let table = rest.split(' ').next().unwrap_or_default();
        assert!(!TABLES.contains(&table) && !SHORT.contains(&table), "{what} scans: {plan:#?}");
    }
}

impl Bench {
    async fn plan(&self, mut statement: Sql) -> Vec<String> {
        let sql = format!("EXPLAIN QUERY PLAN {}", statement.sql().as_str());
        // Values do not matter to a plan, so they need not be bound.
        let rows = sqlx::query(sqlx::AssertSqlSafe(sql)).fetch_all(self.store.readers()).await;
        statement.reset();
        rows.unwrap().iter().map(|row| row.get::<String, _>("detail")).collect()
    }
}

#[tokio::test]
async fn lists_of_alerts_look_at_what_their_source_has() {
    let bench = Bench::new().await;
    let filter = AlertFilter { severity: vec![Severity::Info], ..q("disk") };
    bench.index().await;

    for (source, index) in [
        (Source::Open(1), "USING INDEX alerts_open_service (service_seq=? AND seq>? AND seq<?)"),
        (Source::Suppressed, "USING INDEX alerts_suppressed (seq>? AND seq<?)"),
        (Source::Incident(1), "USING INDEX alerts_incident (incident_seq=?"),
        (Source::Texts(vec![1, 2]), "SEARCH t USING INTEGER PRIMARY KEY (rowid=?)"),
        (Source::Table, "SEARCH a USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)"),
    ] {
        let scan = AlertScan::new(&filter, source.clone());
        let plan = bench.plan(scan.statement(1, 9, None)).await;
        refuse_scans(&plan, &format!("{source:?}"));
        assert!(plan.iter().any(|line| line.contains(index)), "{source:?}: {plan:#?}");
        let sorts = plan.iter().any(|line| line.contains("TEMP B-TREE"));
        assert_eq!(sorts, matches!(source, Source::Texts(_)), "{source:?}: {plan:#?}");
    }
}

#[tokio::test]
async fn lists_of_deliveries_look_at_what_is_asked_for() {
    use DeliveryState::{Dead, Delivered, Leased, Pending};
    let bench = Bench::new().await;
    let of_states = |states: &[DeliveryState]| DeliveryFilter {
        states: states.to_vec(),
        receivers: vec!["pager".to_owned()],
        incidents: Vec::new(),
    };
    let of_incident =
        DeliveryFilter { incidents: vec![IncidentRef::Number(1)], ..DeliveryFilter::default() };

    for (filter, index) in [
        (of_incident, "INDEX deliveries_incident (incident_seq=? AND seq>? AND seq<?)"),
        (of_states(&[Dead]), "USING INDEX deliveries_dead"),
        (of_states(&[Pending, Leased]), "USING INDEX deliveries_lane"),
        (of_states(&[Pending, Dead]), "USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)"),
        (of_states(&[Delivered]), "USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)"),
        (of_states(&[]), "USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)"),
    ] {
        let scan = DeliveryScan::new(&filter);
        for statement in [scan.statement(1, 9, Some(1)), scan.count(1, 9).unwrap()] {
            let plan = bench.plan(statement).await;
            assert!(plan.iter().any(|line| line.contains(index)), "{filter:?}: {plan:#?}");
        }
    }
}

#[tokio::test]
async fn what_is_shown_is_read_by_number() {
    let bench = Bench::new().await;

    for sql in [
        incidents::VIEWS,
        incidents::INCIDENTS_OF_ALERTS,
        events::VIEWS,
        events::ALERTS_OF_TEXTS,
        events::ALERTS_OF_INCIDENTS,
        events::OPEN_ALERTS,
        events::CHAIN_STARTS,
        logs::CHANGE_VIEWS,
        logs::OF_ALERT.rows,
        logs::OF_ALERT.count,
        logs::OF_INCIDENT.rows,
        logs::OF_INCIDENT.count,
        logs::NOTE,
        noise::COUNTS,
        search::TAIL,
        similar::BEFORE,
        similar::TITLE,
        standing::INHIBITORS,
        standing::SUMMARIES,
        maintenance::PURGE_KEYS,
        maintenance::PURGE_INHIBITORS,
        maintenance::PURGE_TEMPLATES,
    ] {
        let plan = bench.plan(Sql::new(sql)).await;
        refuse_scans(&plan, sql);
    }
}

#[tokio::test]
async fn the_noisiest_are_looked_for_in_a_window_of_events() {
    let bench = Bench::new().await;
    let service = bench.store.services_called("payments").await.unwrap();
    let filter = NoiseFilter { services: service, since: bench.now, until: bench.now };

    let mut sql = noise::window(&filter, bench.now, bench.now);
    push_span(&mut sql, "e.seq", 1, 9);

    let plan = bench.plan(sql).await;
    refuse_scans(&plan, "the window");
    let expected = "SEARCH e USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)";
    assert!(plan.iter().any(|line| line.contains(expected)), "{plan:#?}");
}
