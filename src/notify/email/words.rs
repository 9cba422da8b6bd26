//! What happened, in words for people.

use crate::{
    domain::{
        alert::Status,
        notify::Reason,
        time::{Span, Timestamp},
    },
    notify::Message,
};

/// Why the mail is sent.
pub(super) fn reason(message: &Message) -> String {
    let happened = happened(message);
    match message.reason {
        Reason::Flapping | Reason::Resolved | Reason::Test => happened,
        _ if message.incident.flapping => format!("{happened}; flapping: it comes and goes"),
        _ => happened,
    }
}

fn happened(message: &Message) -> String {
    let incident = &message.incident;
    let open_for = || duration(message.at.since(incident.created_at));
    match message.reason {
        Reason::Opened => "New incident".to_owned(),
        Reason::Reopened => "Open again".to_owned(),
        Reason::SeverityRaised => format!("Severity raised to {}", incident.severity),
        Reason::Storm => format!("Storm: {} alerts by now", incident.alert_count),
        Reason::Flapping => "Flapping: it comes and goes".to_owned(),
        Reason::Repeat if message.wakes => {
            format!("Nobody looks after it any more; open for {}", open_for())
        }
        Reason::Repeat => format!("Still open after {}", open_for()),
        Reason::AlertsAdded => format!("More alerts: {} by now", incident.alert_count),
        Reason::Acknowledged => match incident.acknowledged_by.as_deref() {
            Some(actor) => format!("Acknowledged by {}", name_of(actor)),
            None => "Acknowledged".to_owned(),
        },
        Reason::Resolved => {
            let ended = incident.resolved_at.unwrap_or(message.at);
            format!("Resolved after {}", duration(ended.since(incident.created_at)))
        }
        Reason::Test => "A test: this receiver works".to_owned(),
    }
}

/// The state in a word.
pub(super) fn state(message: &Message) -> String {
    let word = match (message.reason, message.incident.status) {
        (Reason::Test, _) => "test",
        (Reason::Resolved, _) | (_, Status::Resolved) => "resolved",
        (_, Status::Acknowledged) => "acknowledged",
        (_, Status::Triggered) => message.incident.severity.as_str(),
    };
    word.to_uppercase()
}

/// `token:alice` is Alice's token; who reads a mail wants the name.
pub(super) fn name_of(actor: &str) -> &str {
    actor.split_once(':').map_or(actor, |(_, name)| name)
}

/// Two units at most: `2 d 3 h`, `12 min`, `40 s`.
pub(super) fn duration(span: Span) -> String {
    let seconds = span.as_millis() / 1000;
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    let two = |large: i64, unit: &str, small: i64, smaller: &str| match small {
        0 => format!("{large} {unit}"),
        _ => format!("{large} {unit} {small} {smaller}"),
    };
    match (days, hours, minutes) {
        (1.., _, _) => two(days, "d", hours, "h"),
        (_, 1.., _) => two(hours, "h", minutes, "min"),
        (_, _, 1..) => format!("{minutes} min"),
        _ => format!("{seconds} s"),
    }
}

/// `2026-11-20 10:11:12 UTC`.
pub(super) fn moment(at: Timestamp) -> String {
    let text = at.to_string();
    let whole = text.split('.').next().unwrap_or(&text);
    format!("{} UTC", whole.replacen('T', " ", 1))
}

/// At most so many characters, the last of which says that there is more.
pub(super) fn shortened(text: &str, chars: usize) -> String {
    match text.char_indices().nth(chars) {
        None => text.to_owned(),
        Some(_) => text.chars().take(chars.saturating_sub(1)).chain(['…']).collect(),
    }
}

/// On one line: a line break in a header would begin another one.
pub(super) fn one_line(text: &str) -> String {
    let spaced: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    spaced.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_has_two_units_at_most() {
        for (seconds, text) in [
            (0, "0 s"),
            (59, "59 s"),
            (60, "1 min"),
            (3599, "59 min"),
            (3600, "1 h"),
            (3900, "1 h 5 min"),
            (86_400 + 3600, "1 d 1 h"),
            (86_400 * 9 + 60, "9 d"),
        ] {
            assert_eq!(duration(Span::from_secs(seconds)), text);
        }
    }

    #[test]
    fn a_title_is_one_line() {
        assert_eq!(one_line(" a\r\nBcc: x@y\u{0}\t b\u{85}"), "a Bcc: x@y b");
        assert_eq!(shortened("数据库磁盘", 3), "数据…");
        assert_eq!(shortened("数据库", 3), "数据库");
    }
}
