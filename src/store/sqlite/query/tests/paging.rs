//! Pages: they meet exactly, while rows are added, for rare and for common words.

use super::*;

/// Opens `count` alerts in batches; `content_of` says what each says.
async fn fill(bench: &mut Bench, count: usize, content_of: impl Fn(usize) -> Content) {
    let numbers: Vec<usize> = (0..count).collect();
    for batch in numbers.chunks(500) {
        let inputs = batch
            .iter()
            .map(|n| bench.trigger_input("default", &format!("k{n}"), content_of(*n)))
            .collect();
        bench.carry_out(inputs).await;
    }
}

/// All pages of a list of alerts, by their numbers; how many pages there were.
async fn all_pages(bench: &Bench, filter: &AlertFilter, limit: usize) -> (Vec<i64>, usize) {
    let (mut seqs, mut before, mut pages) = (Vec::new(), None, 0);
    loop {
        let page = Page { limit, before, count: false };
        let listed = bench.store.alerts(filter, page).await.unwrap();
        assert!(listed.items.len() <= limit);
        seqs.extend(listed.items.iter().map(|alert| alert.id.seq()));
        pages += 1;
        before = listed.next;
        if before.is_none() {
            return (seqs, pages);
        }
    }
}

#[tokio::test]
async fn pages_meet_exactly_while_rows_are_added() {
    let mut bench = Bench::new().await;
    fill(&mut bench, 25, |n| content(&format!("disk {n}"))).await;
    let page = |before| Page { limit: 10, before, count: true };

    let first = bench.store.alerts(&q("disk"), page(None)).await.unwrap();
    for n in 25..30 {
        bench.trigger("default", &format!("k{n}"), content("disk again")).await;
        bench.index().await;
    }
    let second = bench.store.alerts(&q("disk"), page(first.next)).await.unwrap();
    let third = bench.store.alerts(&q("disk"), page(second.next)).await.unwrap();

    let seqs: Vec<i64> = [&first, &second, &third]
        .iter()
        .flat_map(|listed| listed.items.iter().map(|alert| alert.id.seq()))
        .collect();
    assert_eq!(seqs, (1..=25).rev().collect::<Vec<i64>>());
    assert_eq!(third.next, None);
    assert_eq!((first.total, third.total), (Some(25), Some(30)));
}

#[tokio::test]
async fn open_alerts_of_several_services_come_in_one_order() {
    let mut bench = Bench::new().await;
    for n in 0..20 {
        let service = if n % 3 == 0 { "payments" } else { "default" };
        bench.trigger(service, &format!("k{n}"), content("x")).await;
    }
    bench.resolve("default", "k19").await;
    let open = AlertFilter {
        status: vec![crate::domain::alert::Status::Triggered],
        ..AlertFilter::default()
    };

    let (seqs, pages) = all_pages(&bench, &open, 7).await;

    assert_eq!(seqs, (1..=19).rev().collect::<Vec<i64>>());
    assert_eq!(pages, 3);
}

#[tokio::test]
async fn common_and_rare_words_are_found_among_many() {
    let mut bench = Bench::new().await;
    let said = |n: usize| {
        let rare = if n % 5000 == 17 { " needle" } else { "" };
        content(&format!("disk full{rare}"))
    };
    fill(&mut bench, 11_000, said).await;
    bench.index().await;
    bench.trigger("default", "last", content("disk needle")).await;

    let common = bench.store.alerts(&q("disk"), Page { limit: 50, ..page() }).await.unwrap();
    let rare = bench.alert_keys(q("needle")).await;
    let narrowed = AlertFilter { severity: vec![Severity::Info], ..q("disk") };
    let (none, _) = all_pages(&bench, &narrowed, 50).await;
    let (all, pages) = all_pages(&bench, &q("disk"), 500).await;

    assert_eq!((common.items.len(), common.total), (50, Some(11_001)));
    assert_eq!(rare, ["last", "k10017", "k5017", "k17"]);
    assert_eq!(none, Vec::<i64>::new());
    assert_eq!(all, (1..=11_001).rev().collect::<Vec<i64>>());
    assert!(pages >= 23, "{pages}");
    let events = EventFilter { event: q("needle"), ..EventFilter::default() };
    assert_eq!(bench.events(events).await.len(), 4);
    let incidents = IncidentFilter { alert: q("needle"), ..IncidentFilter::default() };
    assert_eq!(bench.incidents(incidents).await.len(), 4);
    let common = IncidentFilter { alert: q("disk"), ..IncidentFilter::default() };
    let common = bench.store.incidents(&common, Page { limit: 50, ..page() }).await.unwrap();
    assert_eq!((common.items.len(), common.total), (50, Some(11_001)));
}

#[tokio::test]
async fn a_word_common_only_among_old_rows_fills_the_first_page() {
    let mut bench = Bench::new().await;
    let said = |n: usize| content(if n < 10_500 { "disk full" } else { "cpu high" });
    fill(&mut bench, 21_000, said).await;
    bench.index().await;
    let few = Page { limit: 50, before: None, count: true };

    let alerts = bench.store.alerts(&q("disk"), few).await.unwrap();
    let events = EventFilter { event: q("disk"), ..EventFilter::default() };
    let events = bench.store.events(&events, few).await.unwrap();
    let incidents = IncidentFilter { alert: q("disk"), ..IncidentFilter::default() };
    let incidents = bench.store.incidents(&incidents, few).await.unwrap();

    let newest: Vec<i64> = (10_451..=10_500).rev().collect();
    assert_eq!(alerts.items.iter().map(|a| a.id.seq()).collect::<Vec<_>>(), newest);
    assert_eq!(events.items.iter().map(|e| e.id.seq()).collect::<Vec<_>>(), newest);
    assert_eq!(incidents.items.iter().map(|i| i.number).collect::<Vec<_>>(), newest);
    assert_eq!([alerts.total, events.total, incidents.total], [Some(10_500); 3]);
    assert_eq!([alerts.next, events.next, incidents.next], [Some(10_451); 3]);
}

#[tokio::test]
async fn the_events_of_an_alert_are_paged_along_their_chain() {
    let mut bench = Bench::new().await;
    for _ in 0..12 {
        bench.trigger("default", "a", content("x")).await;
        bench.trigger("default", "b", content("y")).await;
    }
    let alerts = bench.alerts(&AlertFilter::default()).await.items;
    let by_b = EventFilter { alerts: vec![alerts[0].id], ..EventFilter::default() };
    let both = EventFilter {
        alerts: alerts.iter().map(|alert| alert.id).collect(),
        ..EventFilter::default()
    };

    for (filter, expected) in [
        (by_b, (1..=12).rev().map(|n| 2 * n).collect::<Vec<i64>>()),
        (both, (1..=24).rev().collect()),
    ] {
        let (mut seqs, mut before) = (Vec::new(), None);
        loop {
            let page = Page { limit: 5, before, count: false };
            let listed = bench.store.events(&filter, page).await.unwrap();
            seqs.extend(listed.items.iter().map(|event| event.id.seq()));
            before = listed.next;
            if before.is_none() {
                break;
            }
        }
        assert_eq!(seqs, expected);
    }
}

#[tokio::test]
async fn a_page_of_large_bodies_ends_early_and_goes_on() {
    let mut bench = Bench::new().await;
    for n in 0..20 {
        let details = format!("\"{}\"", "x".repeat(500_000));
        let large = Content { custom_details: Some(details.into()), ..content("big") };
        bench.trigger("default", &format!("k{n}"), large).await;
    }

    let first = bench.store.events(&EventFilter::default(), page()).await.unwrap();
    let rest = Page { before: first.next, ..page() };
    let rest = bench.store.events(&EventFilter::default(), rest).await.unwrap();
    let alerts = bench.alerts(&AlertFilter::default()).await;

    assert!(first.items.len() < 20 && first.next.is_some());
    assert_eq!(first.items.len() + rest.items.len(), 20);
    assert_eq!(alerts.items.len(), first.items.len());
    assert_eq!(first.total, Some(20));
}
