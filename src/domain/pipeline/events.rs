//! What an event does: route, enrich, drop, merge into its alert, or open one.

use std::sync::Arc;

use super::{Batch, Moment, actor_of};
use crate::domain::{
    alert::{Alert, ContentRef, Dues, Status, Transition},
    changes::{
        ChangeInput, EventInput, NewChange, NewContent, NewEvent, Outcome, Receipt, TimelineKind,
    },
    event::{Content, Disposition, Fingerprints, Intent, Severity},
    id::{AlertId, ContentSeq, EventSeq, ServiceId},
    key::DedupKey,
    service::AutoResolve,
    standing::Standing,
    trace::{Stage, Trace},
};

/// What the merge stage made of an event.
struct Merged {
    disposition: Disposition,
    alert_id: Option<AlertId>,
    previous: Option<EventSeq>,
    content: Option<ContentSeq>,
}

impl Merged {
    fn nothing(disposition: Disposition) -> Self {
        Self { disposition, alert_id: None, previous: None, content: None }
    }
}

impl Batch<'_> {
    /// One event through the stages.
    pub(super) fn event(&mut self, input: &Arc<EventInput>) -> Receipt {
        let mut trace = Trace::default();
        let integration = &input.integration;
        let given_key = input.event.intent.dedup_key();
        let key = given_key.cloned().unwrap_or_else(|| DedupKey::generated(self.ids.random_128()));

        // An open alert decides its service; only a trigger that opens one is routed.
        let routed = input.prepared.service_id;
        let open = self.working.open_alert(integration.id, &key).map(|a| (a.id, a.service_id));
        let now =
            self.working.clock(open.map_or(routed, |(_, service)| service), input.received_at);
        self.settle(now);
        let open = self.working.open_alert(integration.id, &key).map(|a| (a.id, a.service_id));
        let service_id = open.map_or(routed, |(_, service)| service);
        let moved = (service_id != routed).then(|| input.in_service(service_id, self.directory));
        let input = &moved.map_or_else(|| Arc::clone(input), Arc::new);
        let (event_at, doubt) = input.event_at(now);
        self.route(&mut trace, input, service_id, open.is_some(), doubt);

        let event_id = self.ids.event(now);
        self.working.count(service_id, now).events += 1;
        let at = Moment { now, event_at, event_id, service_id };
        let merged = if self.working.came_before(integration.id, input.event.sent_id, now) {
            let reason = "an event with this id came to this integration before";
            trace.decided(Stage::Idempotency, "duplicate", reason, &[]);
            Merged::nothing(Disposition::Duplicate)
        } else {
            self.take(input, &key, open.map(|(id, _)| id), &at, &mut trace)
        };
        let Merged { disposition, alert_id, previous, content } = merged;
        self.working.changes.events.push(NewEvent {
            id: event_id,
            input: Arc::clone(input),
            service_id,
            received_at: now,
            event_at,
            dedup_key: key.clone(),
            disposition,
            alert_id,
            previous,
            content,
            trace: trace.into_json(),
        });
        Receipt { event_id, alert_id, dedup_key: key, disposition }
    }

    /// An event that did not come before.
    fn take(
        &mut self,
        input: &Arc<EventInput>,
        key: &DedupKey,
        open: Option<AlertId>,
        at: &Moment,
        trace: &mut Trace,
    ) -> Merged {
        for note in &input.prepared.enriched {
            let rule = format!("enrich[{}]", note.rule);
            trace.decided(Stage::Enrich, "changed", &note.what, &[("rule", &rule)]);
        }
        match (&input.event.intent, input.content(), open) {
            (Intent::Trigger { dedup_key, .. }, Some(content), open) => {
                if let Some(rule) = input.prepared.dropped {
                    let rule = format!("drop[{rule}]");
                    let reason = "a drop rule of the service matches";
                    trace.decided(Stage::Drop, "dropped", reason, &[("rule", &rule)]);
                    self.working.changes.tally.dropped += 1;
                    Merged::nothing(Disposition::Dropped)
                } else if let Some(id) = open {
                    self.merge(input, content, id, at, trace)
                } else {
                    self.open(input, content, key.clone(), dedup_key.is_none(), at, trace)
                }
            }
            (_, _, Some(id)) => self.transition(input, id, at, trace),
            (_, _, None) => {
                let reason = "no open alert with this key on this integration";
                trace.decided(Stage::Dedup, "ignored", reason, &[]);
                Merged::nothing(Disposition::Ignored)
            }
        }
    }

    fn route(
        &self,
        trace: &mut Trace,
        input: &EventInput,
        service_id: ServiceId,
        follows_open_alert: bool,
        doubt: Option<&str>,
    ) {
        let service = self.service(service_id).map_or("", |s| s.name.as_str());
        let route = input.prepared.route.map(|at| format!("routes[{at}]"));
        let reason = match (follows_open_alert, &route) {
            (true, _) => "events follow the open alert of their key",
            (false, Some(_)) => "the first route that matches",
            (false, None) => "the service of the integration",
        };
        let mut more = vec![("service", service), ("integration", input.integration.name.as_str())];
        more.extend(route.as_deref().filter(|_| !follows_open_alert).map(|route| ("rule", route)));
        more.extend(doubt.map(|doubt| ("timestamp", doubt)));
        trace.decided(Stage::Route, "service", reason, &more);
    }

    /// A trigger finds its alert open.
    fn merge(
        &mut self,
        input: &Arc<EventInput>,
        content: &Content,
        id: AlertId,
        at: &Moment,
        trace: &mut Trace,
    ) -> Merged {
        let fingerprints = input.prepared.fingerprints;
        let Some(before) = self.working.alert(id).cloned() else {
            unreachable!("the alert was just looked up")
        };
        let informs = input.event.informs;
        if informs && !before.standing.informs {
            let reason = "it says that nothing is wrong, and the open alert says that something is";
            trace.decided(Stage::Dedup, "ignored", reason, &[("status", before.status.as_str())]);
            self.working.change_alert(id, |alert| alert.last_event = at.event_id.row());
            return Merged {
                disposition: Disposition::Ignored,
                alert_id: Some(id),
                previous: Some(before.last_event),
                content: None,
            };
        }
        if before.standing.informs && !informs {
            let reason = "something is wrong now, and only news of it was acknowledged";
            self.unacknowledge_alert(id, at.now, &actor_of(input), reason);
        }
        let content_id = if fingerprints.all == before.content.hash {
            None
        } else {
            let text =
                (fingerprints.text == before.content.text_hash).then_some(before.content.text);
            Some(self.new_content(input, id, at, text))
        };
        self.working.change_alert(id, |alert| {
            alert.merge(content.severity, at.event_at, at.now);
            alert.last_event = at.event_id.row();
            if alert.standing.informs && !informs {
                alert.standing.informs = false;
                alert.standing.wrong_since = Some(at.now);
            }
            if let Some(reference) = content_id {
                alert.content = reference;
            }
        });
        let status = before.status.as_str();
        if before.severity == content.severity {
            let reason = "an alert with this key is open";
            trace.decided(Stage::Dedup, "merged", reason, &[("status", status)]);
        } else {
            let change = format!("{} to {}", before.severity, content.severity);
            let reason = "an alert with this key is open; its severity changes";
            let more = [("status", status), ("severity", change.as_str())];
            trace.decided(Stage::Dedup, "merged", reason, &more);
            self.severity_changed(&before, content.severity, at, &actor_of(input));
        }
        let matches = &input.prepared.matches;
        let group = &input.prepared.group;
        let regroups = before.incident_id.is_none() && before.standing.group != *group;
        if before.stale || regroups || before.standing.matches != *matches {
            let group = group.clone();
            self.rematch(id, Arc::clone(matches), group, before.stale, at.now, &actor_of(input));
        }
        self.trace_standing(id, &before, trace);
        Merged {
            disposition: Disposition::Merged,
            alert_id: Some(id),
            previous: Some(before.last_event),
            content: Some(content_id.map_or(before.content.id, |reference| reference.id)),
        }
    }

    fn severity_changed(&mut self, before: &Alert, to: Severity, at: &Moment, actor: &str) {
        let reason = match before.status {
            Status::Acknowledged if to > before.severity => {
                format!("{to}, acknowledged at {}", before.severity)
            }
            Status::Triggered | Status::Acknowledged | Status::Resolved => {
                format!("from {} to {to}", before.severity)
            }
        };
        let kind = TimelineKind::SeverityChanged;
        let (alert, incident) = (Some(before.id), before.incident_id);
        self.working.tell(self.ids, at.now, alert, incident, kind, actor, reason);
        self.reflect(before, false, at.now, actor);
    }

    /// A trigger finds no alert open.
    fn open(
        &mut self,
        input: &Arc<EventInput>,
        content: &Content,
        dedup_key: DedupKey,
        generated_key: bool,
        at: &Moment,
        trace: &mut Trace,
    ) -> Merged {
        let id = self.ids.alert(at.now);
        let reason = if generated_key {
            "it came without a dedup key, so one was made"
        } else {
            "no open alert with this key on this integration"
        };
        let informs = input.event.informs;
        let lasts = informs.then(|| AutoResolve::INFORMING.after.to_string());
        let lasts = lasts.as_deref().map(|lasts| ("resolves_after", lasts));
        trace.decided(Stage::Dedup, "opened", reason, lasts.as_slice());
        let actor = actor_of(input);
        let previous = (!generated_key)
            .then(|| self.working.newest_alert(input.integration.id, &dedup_key).cloned())
            .flatten();
        let returning = previous
            .as_ref()
            .filter(|alert| alert.service_id == at.service_id)
            .and_then(|alert| alert.incident_id.or(alert.standing.returning));
        let reference = self.new_content(input, id, at, None);
        let alert = Alert {
            id,
            integration_id: input.integration.id,
            service_id: at.service_id,
            incident_id: None,
            dedup_key,
            generated_key,
            status: Status::Triggered,
            severity: content.severity,
            max_severity: content.severity,
            event_count: 1,
            event_at: at.event_at,
            first_event_at: at.now,
            last_event_at: at.now,
            acknowledged_at: None,
            resolved_at: None,
            last_event: at.event_id.row(),
            content: reference,
            standing: Standing {
                matches: Arc::clone(&input.prepared.matches),
                group: input.prepared.group.clone(),
                returning,
                informs,
                ..Standing::default()
            },
            flapping: false,
            stale: false,
            dues: Dues::default(),
        };
        self.working.insert_alert(alert);
        self.working.count(at.service_id, at.now).alerts += 1;
        let flap = self.flap_on_trigger(id, previous.is_some(), at.now, trace);
        self.enlist(id, at.now);
        self.quieten(id, at.now);
        self.trace_quiet(id, trace);
        let suppressed = self.working.alert(id).is_some_and(Alert::is_suppressed);
        if suppressed {
            self.tell_suppressed(id, at.now, &actor);
        } else {
            self.group(id, &content.summary, at.now, &actor, Some(trace));
            self.notice_flapping(id, at.now, flap.began);
        }
        if flap.began {
            self.tell_flapping(id, at.now);
        }
        let paused = self.working.alert(id).and_then(|alert| alert.standing.quiet.paused_until);
        Self::trace_pause(&flap, paused, trace);
        self.trace_notify(id, trace);
        Merged {
            disposition: Disposition::Opened,
            alert_id: Some(id),
            previous: None,
            content: Some(reference.id),
        }
    }

    fn new_content(
        &mut self,
        input: &Arc<EventInput>,
        alert_id: AlertId,
        at: &Moment,
        unchanged_text: Option<ContentSeq>,
    ) -> ContentRef {
        let id = self.ids.content();
        let text = unchanged_text.unwrap_or(id);
        let event_id = at.event_id;
        let input_ref = Arc::clone(input);
        let row = NewContent { id, alert_id, event_id, text, input: input_ref };
        self.working.say(row);
        let Fingerprints { all, text: text_hash } = input.prepared.fingerprints;
        ContentRef { id, hash: all, text, text_hash }
    }

    /// An acknowledge or resolve finds its alert open.
    fn transition(
        &mut self,
        input: &Arc<EventInput>,
        id: AlertId,
        at: &Moment,
        trace: &mut Trace,
    ) -> Merged {
        let action = input.event.intent.action();
        let actor = actor_of(input);
        let before = self.working.alert(id).cloned();
        let previous = before.as_ref().map(|alert| alert.last_event);
        let transition = self.act_on_alert(id, action, at.now, &actor, "by an event", true);
        self.working.change_alert(id, |alert| alert.last_event = at.event_id.row());
        let disposition = match transition {
            Transition::Acknowledged => {
                let reason = "the open alert and its incident are acknowledged";
                trace.decided(Stage::Dedup, "acknowledged", reason, &[]);
                Disposition::Acknowledged
            }
            Transition::Resolved => {
                trace.decided(Stage::Dedup, "resolved", "the open alert is resolved", &[]);
                if let Some(before) = &before {
                    self.trace_flapping(before, trace);
                }
                Disposition::Resolved
            }
            Transition::Unchanged | Transition::Merged => {
                trace.decided(Stage::Dedup, "ignored", "the alert is acknowledged already", &[]);
                Disposition::Ignored
            }
        };
        self.trace_notify(id, trace);
        Merged { disposition, alert_id: Some(id), previous, content: None }
    }

    pub(super) fn change_event(&mut self, input: &Arc<ChangeInput>) -> Outcome {
        let now = self.working.clock(input.integration.service_id, input.received_at);
        self.settle(now);
        if self.working.came_before(input.integration.id, input.change.sent_id, now) {
            return Outcome::Change(None);
        }
        let id = self.ids.change(now);
        let (event_at, _) = input.event_at(now);
        self.working.changes.change_events.push(NewChange {
            id,
            input: Arc::clone(input),
            received_at: now,
            event_at,
        });
        Outcome::Change(Some(id))
    }
}
