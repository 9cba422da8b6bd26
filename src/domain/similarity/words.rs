//! The few words that masking knows, of units, dates and what is followed by a name.
//!
//! No dictionary: they are closed lists that do not depend on what is monitored.

/// Part of the number before it: `12 KB`, `3 seconds`, `10:00 UTC`.
pub(super) fn is_unit(word: &str) -> bool {
    if word.len() > 12 {
        return false;
    }
    matches!(
        word,
        "B" | "KB"
            | "MB"
            | "GB"
            | "TB"
            | "kB"
            | "KiB"
            | "MiB"
            | "GiB"
            | "TiB"
            | "k"
            | "K"
            | "M"
            | "G"
            | "bytes"
            | "byte"
            | "Bytes"
            | "ns"
            | "us"
            | "ms"
            | "s"
            | "m"
            | "h"
            | "d"
            | "sec"
            | "secs"
            | "second"
            | "seconds"
            | "min"
            | "mins"
            | "minute"
            | "minutes"
            | "hour"
            | "hours"
            | "day"
            | "days"
            | "microseconds"
            | "milliseconds"
            | "percent"
            | "AM"
            | "PM"
            | "UTC"
            | "GMT"
            | "EST"
            | "EDT"
            | "CST"
            | "CDT"
            | "MST"
            | "MDT"
            | "PST"
            | "PDT"
            | "CET"
            | "CEST"
    )
}

/// A name in a date: `Jun 17`, `Fri Jun 17`.
pub(super) fn is_date_part(word: &str) -> bool {
    matches!(
        word,
        "Jan"
            | "Feb"
            | "Mar"
            | "Apr"
            | "May"
            | "Jun"
            | "Jul"
            | "Aug"
            | "Sep"
            | "Oct"
            | "Nov"
            | "Dec"
            | "Mon"
            | "Tue"
            | "Wed"
            | "Thu"
            | "Fri"
            | "Sat"
            | "Sun"
    )
}

/// Stands for a value.
pub(super) fn is_literal(word: &str) -> bool {
    matches!(
        word,
        "true"
            | "false"
            | "null"
            | "nil"
            | "none"
            | "None"
            | "undefined"
            | "NaN"
            | "True"
            | "False"
            | "NULL"
            | "TRUE"
            | "FALSE"
    )
}

/// A kind of thing of which there are many: its name comes next, as in `user admin`.
pub(super) fn is_kind(word: &str) -> bool {
    let mut lower = [0_u8; 12];
    let Some(lower) = lower.get_mut(..word.len()) else { return false };
    lower.copy_from_slice(word.as_bytes());
    lower.make_ascii_lowercase();
    matches!(
        &*lower,
        b"account"
            | b"bucket"
            | b"cluster"
            | b"container"
            | b"database"
            | b"datacenter"
            | b"deployment"
            | b"device"
            | b"disk"
            | b"domain"
            | b"drive"
            | b"group"
            | b"host"
            | b"hostname"
            | b"instance"
            | b"interface"
            | b"job"
            | b"machine"
            | b"namespace"
            | b"node"
            | b"partition"
            | b"pod"
            | b"queue"
            | b"region"
            | b"replica"
            | b"server"
            | b"service"
            | b"site"
            | b"table"
            | b"tenant"
            | b"topic"
            | b"user"
            | b"username"
            | b"volume"
            | b"zone"
    )
}

/// Says what became of a thing, after its kind, rather than which one it is: `job failed`.
pub(super) fn is_state(word: &str) -> bool {
    ["ed", "ing", "able", "ible", "ful", "less"].iter().any(|ending| word.ends_with(ending))
        || matches!(
            word,
            "is" | "was"
                | "are"
                | "has"
                | "had"
                | "not"
                | "does"
                | "did"
                | "can"
                | "cannot"
                | "will"
                | "on"
                | "at"
                | "for"
                | "from"
                | "in"
                | "of"
                | "by"
                | "to"
                | "with"
                | "and"
                | "or"
                | "went"
                | "down"
                | "up"
                | "full"
                | "empty"
                | "ready"
                | "healthy"
                | "lost"
                | "error"
                | "errors"
                | "failure"
                | "usage"
                | "space"
                | "limit"
                | "load"
                | "status"
                | "state"
                | "health"
                | "unknown"
                | "too"
                | "out"
                | "start"
                | "stop"
                | "restart"
        )
}

/// What follows, if it is written like a name, is where or to whom it happened.
pub(super) fn is_preposition(word: &str) -> bool {
    matches!(word, "on" | "at" | "for" | "from" | "in" | "of" | "by" | "to")
}

/// Where it happened, if it is what a text ends with: `error rate above 5% on checkout`.
pub(super) fn is_place(word: &str) -> bool {
    matches!(word, "on" | "for" | "at")
}

/// Whether a script puts no spaces between words: Chinese, Japanese, Thai.
pub(super) fn is_unspaced(letter: char) -> bool {
    matches!(
        u32::from(letter),
        0x0E00..=0x0E7F | 0x3040..=0x30FF | 0x3400..=0x4DBF | 0x4E00..=0x9FFF | 0xF900..=0xFAFF
            | 0x2_0000..=0x3_FFFF
    ) && letter.is_alphanumeric()
}
