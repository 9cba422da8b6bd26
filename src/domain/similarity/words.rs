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

/// Whether a name of something that varies comes next.
pub(super) fn names_what_follows(word: &str) -> bool {
    matches!(
        word,
        "user" | "username" | "host" | "hostname" | "machine" | "node" | "pod" | "User" | "Host"
    )
}

/// What follows, if it is written like a name, is where or to whom it happened.
pub(super) fn is_preposition(word: &str) -> bool {
    matches!(word, "on" | "at" | "for" | "from" | "in" | "of" | "by" | "to")
}

/// Whether a script puts no spaces between words: Chinese, Japanese, Thai.
pub(super) fn is_unspaced(letter: char) -> bool {
    matches!(
        u32::from(letter),
        0x0E00..=0x0E7F | 0x3040..=0x30FF | 0x3400..=0x4DBF | 0x4E00..=0x9FFF | 0xF900..=0xFAFF
            | 0x2_0000..=0x3_FFFF
    ) && letter.is_alphanumeric()
}
