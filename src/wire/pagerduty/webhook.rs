//! PagerDuty's webhooks, version 3: what somebody did there to an incident.
//!
//! Sources: PagerDuty's developer documentation, "Webhooks Overview" (the payloads), "Verifying
//! Signatures", "Webhooks Behavior" (repeats). Deliberately not here: which incident of ours it is
//! about, and what is done to it.

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use subtle::{Choice, ConstantTimeEq as _};

use super::super::{
    json::{self, Field},
    timestamp,
};
use crate::domain::time::Timestamp;

/// Most signatures of one webhook that are looked at; while a secret is rotated there are two.
const SIGNATURES_MAX: usize = 16;

/// A body that is no webhook of version 3.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is no webhook of version 3: it has no event with an event_type")]
pub struct NotAWebhook;

/// Something that happened at PagerDuty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Webhook {
    /// The same each time that it is sent.
    pub id: Option<String>,
    pub occurred_at: Option<Timestamp>,
    pub what: What,
    pub who: Who,
    /// The dedup key of what opened the incident; PagerDuty leaves it out on services that make
    /// alerts, which is most of them.
    pub incident_key: Option<String>,
    /// The incident's page at PagerDuty.
    pub incident_url: Option<String>,
    /// The `client_url` of the event by which it happened.
    pub client_url: Option<String>,
}

/// What happened to an incident.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    Triggered,
    Acknowledged,
    Unacknowledged,
    Resolved,
    /// It is said to be resolved, but its alerts live on in another one.
    Merged {
        /// The page of that one.
        into: Option<String>,
    },
    Reopened,
    Annotated {
        note: String,
    },
    Other,
}

/// Who did it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Who {
    /// A person, or something that acts for one, by name.
    Somebody(Option<String>),
    /// An integration of the service, so an event that was sent there: one of ours, most likely.
    Integration,
    /// A timer of PagerDuty, or an event that came by way of its rules.
    Nobody,
}

#[derive(Default)]
struct Event<'a> {
    id: Field<'a>,
    kind: Field<'a>,
    occurred_at: Field<'a>,
    agent: Field<'a>,
    client: Field<'a>,
    data: Field<'a>,
}

#[derive(Default)]
struct Data<'a> {
    incident_key: Field<'a>,
    html_url: Field<'a>,
    resolve_reason: Field<'a>,
    content: Field<'a>,
    incident: Field<'a>,
}

/// Reads the body of a webhook. What it does not have stays empty; only what says nothing at all is
/// refused, as PagerDuty stops sending to who refuses three in a row.
pub fn decode(body: &[u8]) -> Result<Webhook, NotAWebhook> {
    let text = json::check(body).map_err(|_| NotAWebhook)?;
    let mut inner = Field::default();
    json::for_each_entry(text, |name, value| {
        if name == "event" {
            inner = value;
        }
    })
    .map_err(|_| NotAWebhook)?;
    let mut event = Event::default();
    for_each_member(inner, |name, value| match name {
        "id" => event.id = value,
        "event_type" => event.kind = value,
        "occurred_at" => event.occurred_at = value,
        "agent" => event.agent = value,
        "client" => event.client = value,
        "data" => event.data = value,
        _ => {}
    });
    let event_type = event.kind.plain_text().ok_or(NotAWebhook)?;
    let mut data = Data::default();
    for_each_member(event.data, |name, value| match name {
        "incident_key" => data.incident_key = value,
        "html_url" => data.html_url = value,
        "resolve_reason" => data.resolve_reason = value,
        "content" => data.content = value,
        "incident" => data.incident = value,
        _ => {}
    });
    // A note names its incident; all else is about the incident itself.
    let incident_url = match data.incident.verbatim() {
        Some(_) => member(data.incident, "html_url"),
        None => data.html_url.plain_text(),
    };
    Ok(Webhook {
        id: event.id.plain_text(),
        occurred_at: event.occurred_at.plain_text().and_then(|text| timestamp::parse(&text)),
        what: what(&event_type, &data),
        who: who(event.agent),
        incident_key: data.incident_key.plain_text(),
        incident_url,
        client_url: member(event.client, "url"),
    })
}

fn what(event_type: &str, data: &Data<'_>) -> What {
    match event_type {
        "incident.triggered" => What::Triggered,
        "incident.acknowledged" => What::Acknowledged,
        "incident.unacknowledged" => What::Unacknowledged,
        "incident.reopened" => What::Reopened,
        "incident.resolved" => {
            let mut into = Field::default();
            let mut is_merge = false;
            for_each_member(data.resolve_reason, |name, value| match name {
                "type" => is_merge = value.plain_text().as_deref() == Some("merge_resolve_reason"),
                "incident" => into = value,
                _ => {}
            });
            if is_merge { What::Merged { into: member(into, "html_url") } } else { What::Resolved }
        }
        "incident.annotated" => match data.content.plain_text() {
            Some(note) => What::Annotated { note },
            None => What::Other,
        },
        _ => What::Other,
    }
}

fn who(agent: Field<'_>) -> Who {
    let kind = member(agent, "type");
    match kind.as_deref() {
        // `inbound_integration_reference`, `generic_events_api_inbound_integration_reference`, …
        Some(kind) if kind.contains("integration") && !kind.contains("outbound") => {
            Who::Integration
        }
        // A service acts by its timers.
        None | Some("service_reference" | "service") => Who::Nobody,
        Some(_) => Who::Somebody(member(agent, "summary")),
    }
}

/// The text of one member of an object.
fn member(object: Field<'_>, wanted: &str) -> Option<String> {
    let mut found = Field::default();
    for_each_member(object, |name, value| {
        if name == wanted {
            found = value;
        }
    });
    found.plain_text()
}

/// Calls `take` for each member of an object; what is none has none.
fn for_each_member<'a>(object: Field<'a>, take: impl FnMut(&str, Field<'a>)) {
    let Some(text) = object.raw() else { return };
    // The only error is that it is no object, and it comes before the first member.
    json::for_each_entry(text, take).unwrap_or(());
}

/// Whether one of the signatures in `header` (`X-PagerDuty-Signature`: `v1=` and hexadecimal digits,
/// several with commas between them) is that of `body` under `secret`. Takes as long for a wrong
/// one as for the right one.
pub fn is_signed(secret: &str, body: &[u8], header: &str) -> bool {
    let Ok(mac) = Hmac::<Sha256>::new_from_slice(secret.as_bytes()) else { return false };
    let expected = mac.chain_update(body).finalize().into_bytes();
    let signatures = header.split(',').filter_map(|one| one.trim().strip_prefix("v1="));
    let one_fits = signatures
        .take(SIGNATURES_MAX)
        .filter_map(|digits| hex::decode(digits).ok())
        .fold(Choice::from(0), |found, given| found | expected.as_slice().ct_eq(&given));
    bool::from(one_fits)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    const PAGE: &str = "https://acme.pagerduty.com/incidents/PGR0VU2";

    /// As the documentation shows it.
    fn event(event_type: &str) -> Value {
        json!({"event": {
            "id": "5ac64822-4adc-4fda-ade0-410becf0de4f",
            "event_type": event_type,
            "resource_type": "incident",
            "occurred_at": "2020-10-02T18:45:22.169Z",
            "agent": {
                "html_url": "https://acme.pagerduty.com/users/PLH1HKV", "id": "PLH1HKV",
                "self": "https://api.pagerduty.com/users/PLH1HKV", "summary": "Tenex Engineer",
                "type": "user_reference",
            },
            "client": {"name": "PagerDuty"},
            "data": {
                "id": "PGR0VU2", "type": "incident",
                "self": "https://api.pagerduty.com/incidents/PGR0VU2", "html_url": PAGE,
                "number": 2, "status": "triggered",
                "incident_key": "d3640fbd41094207a1c11e58e46b1662",
                "created_at": "2020-04-09T15:16:27Z", "title": "A little bump in the road",
                "resolve_reason": null,
            },
        }})
    }

    fn read(body: &Value) -> Webhook {
        decode(body.to_string().as_bytes()).unwrap()
    }

    #[test]
    fn a_webhook_says_what_happened_to_which_incident_and_who_did_it() {
        let expected = Webhook {
            id: Some("5ac64822-4adc-4fda-ade0-410becf0de4f".to_owned()),
            occurred_at: Timestamp::parse_rfc3339("2020-10-02T18:45:22.169Z"),
            what: What::Acknowledged,
            who: Who::Somebody(Some("Tenex Engineer".to_owned())),
            incident_key: Some("d3640fbd41094207a1c11e58e46b1662".to_owned()),
            incident_url: Some(PAGE.to_owned()),
            client_url: None,
        };
        assert_eq!(read(&event("incident.acknowledged")), expected);
        for (event_type, what) in [
            ("incident.triggered", What::Triggered),
            ("incident.unacknowledged", What::Unacknowledged),
            ("incident.resolved", What::Resolved),
            ("incident.reopened", What::Reopened),
            ("incident.escalated", What::Other),
            ("pagey.ping", What::Other),
        ] {
            assert_eq!(read(&event(event_type)).what, what, "{event_type}");
        }
    }

    #[test]
    fn a_note_names_its_incident() {
        let mut body = event("incident.annotated");
        body["event"]["data"] = json!({
            "incident": {"html_url": PAGE, "id": "PGR0VU2", "type": "incident_reference"},
            "id": "P2LA89X", "content": "I sure am glad!", "trimmed": false, "type": "incident_note",
        });

        let webhook = read(&body);

        assert_eq!(webhook.what, What::Annotated { note: "I sure am glad!".to_owned() });
        assert_eq!((webhook.incident_key, webhook.incident_url), (None, Some(PAGE.to_owned())));
    }

    #[test]
    fn a_merge_is_no_end() {
        let mut body = event("incident.resolved");
        let other = "https://acme.pagerduty.com/incidents/PT4KHLK";
        body["event"]["data"]["resolve_reason"] = json!({
            "type": "merge_resolve_reason", "incident": {"id": "PT4KHLK", "html_url": other},
        });

        assert_eq!(read(&body).what, What::Merged { into: Some(other.to_owned()) });
    }

    #[test]
    fn who_did_it_is_told_by_the_kind_of_agent() {
        let mut body = event("incident.resolved");
        for (agent, who) in [
            (json!({"type": "user_reference"}), Who::Somebody(None)),
            (json!({"type": "inbound_integration_reference", "summary": "x"}), Who::Integration),
            (json!({"type": "events_api_v2_inbound_integration_reference"}), Who::Integration),
            (json!({"type": "service_reference", "summary": "API"}), Who::Nobody),
            (json!(null), Who::Nobody),
            (json!("odd"), Who::Nobody),
        ] {
            body["event"]["agent"] = agent.clone();

            assert_eq!(read(&body).who, who, "{agent}");
        }
    }

    #[test]
    fn what_is_missing_or_odd_is_not_there() {
        let odd = json!({"event": {"event_type": "incident.resolved", "data": [1], "client": "x"}});

        let webhook = read(&odd);

        assert_eq!((webhook.id, webhook.occurred_at), (None, None));
        assert_eq!((webhook.incident_key, webhook.client_url), (None, None));
        for wrong in ["", "[]", "{}", r#"{"event":{}}"#, r#"{"event":[]}"#, r#"{"messages":[]}"#] {
            assert_eq!(decode(wrong.as_bytes()), Err(NotAWebhook), "{wrong}");
        }
    }

    /// Made with another program: `printf %s '{"event":{}}' | openssl dgst -sha256 -hmac s3cret`.
    const SIGNATURE: &str = "352991ebcbce339cc66a2794cf09fe782c95f38e7988e48bda8ded984a11311c";

    #[test]
    fn a_webhook_is_signed_by_any_of_several_signatures() {
        let body = br#"{"event":{}}"#;
        let wrong = format!("v1={}", "0".repeat(64));
        let right = format!("v1={SIGNATURE}");
        for header in [
            right.clone(),
            format!("{wrong},{right}"),
            format!("{right}, {wrong}"),
            format!("v2=00,{}", right.replacen(SIGNATURE, &SIGNATURE.to_uppercase(), 1)),
        ] {
            assert!(is_signed("s3cret", body, &header), "{header}");
        }
        let none =
            [String::new(), wrong, SIGNATURE.to_owned(), "v1=".to_owned(), "v1=zz".to_owned()];
        for header in none.iter().chain([&right[..40].to_owned(), &format!("v2={SIGNATURE}")]) {
            assert!(!is_signed("s3cret", body, header), "{header}");
        }
        assert!(!is_signed("S3cret", body, &right));
        assert!(!is_signed("s3cret", b"{\"event\":{} }", &right));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_fail(body: Vec<u8>, header: String) {
            prop_assert_eq!(is_signed("s3cret", &body, &header), false);
            prop_assert_eq!(decode(&body).is_ok(), false);
        }

        #[test]
        fn no_member_makes_it_fail(place in 0..7_usize, odd in "\\PC{0,20}") {
            let names = ["id", "event_type", "occurred_at", "agent", "client", "data", "more"];
            let text = Value::from(odd.as_str());
            for value in [json!(null), json!(7), json!([odd]), json!({"type": odd}), text] {
                let mut body = event("incident.resolved");
                body["event"][names[place]] = value;
                let read = decode(body.to_string().as_bytes());
                prop_assert!(read.is_ok() || names[place] == "event_type");
            }
        }
    }
}
