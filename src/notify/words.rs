//! Times and texts as people read them in a message. Pure.

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};

use crate::model::plain;

/// The most characters of a text of others within a sentence.
const MOST: usize = 300;

/// Returns a time to the second: without the date if it is `today`.
#[must_use]
pub(super) fn clock(time: DateTime<Utc>, today: NaiveDate) -> String {
    let format = if time.date_naive() == today { "%H:%M:%S UTC" } else { "%Y-%m-%d %H:%M:%S UTC" };
    time.format(format).to_string()
}

/// Returns a length of time in its largest unit.
#[must_use]
pub(super) fn duration(length: TimeDelta) -> String {
    match length.num_seconds() {
        ..=0 => "less than 1 s".to_owned(),
        seconds @ 1..120 => format!("{seconds} s"),
        seconds @ 120..7_200 => format!("{} min", seconds / 60),
        seconds @ 7_200..172_800 => format!("{} h", seconds / 3_600),
        seconds => format!("{} d", seconds / 86_400),
    }
}

/// Rewrites the times of RFC 3339 in a text to the second.
#[must_use]
pub(super) fn times(text: &str, today: NaiveDate) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let is_start = !shown.ends_with(|before: char| before.is_ascii_alphanumeric());
        let found = stamp_at(rest).filter(|_| is_start);
        let length = found.map_or(c.len_utf8(), |(_, length)| length);
        let (taken, after) = rest.split_at(length);
        match found {
            Some((time, _)) => shown.push_str(&clock(time, today)),
            None => shown.push_str(taken),
        }
        rest = after;
    }
    shown
}

/// Returns the time with which a text begins, and its length in bytes.
fn stamp_at(text: &str) -> Option<(DateTime<Utc>, usize)> {
    let is_date = text.as_bytes().get(4) == Some(&b'-') && text.starts_with(|c: char| c.is_ascii_digit());
    let length = text.bytes().take(40).position(|byte| byte == b'Z').filter(|_| is_date)? + 1;
    let time = DateTime::parse_from_rfc3339(text.get(..length)?).ok()?;
    Some((time.with_timezone(&Utc), length))
}

/// Returns a text of others for a sentence: one line, its times to the second, and cut if it is long.
#[must_use]
pub(super) fn quoted(text: &str, today: NaiveDate) -> String {
    let text = times(&plain::line(text), today);
    match text.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text,
    }
}

/// Returns a text as a sentence. A name at its beginning is spelled as it is.
#[must_use]
pub(super) fn sentence(text: &str) -> String {
    let text = text.trim();
    let word = text.split([' ', ',', ';', ':']).next().unwrap_or_default();
    let is_name = !word.chars().all(char::is_alphabetic);
    let mut letters = text.chars();
    let begun = match letters.next() {
        Some(first) if !is_name => format!("{}{}", first.to_uppercase(), letters.as_str()),
        Some(_) | None => text.to_owned(),
    };
    let end = if text.is_empty() || text.ends_with(['.', '…', '?', '!']) { "" } else { "." };
    format!("{begun}{end}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::alarm::time;

    #[test]
    fn times_are_shown_to_the_second_and_without_the_date_of_today() {
        let today = time("2026-11-20T10:06:00Z").unwrap().date_naive();
        for (text, expected) in [
            ("", ""),
            ("at 2026-11-20T10:05:12.345Z", "at 10:05:12 UTC"),
            ("at 2026-11-20T10:05:12Z, by x", "at 10:05:12 UTC, by x"),
            ("(2026-11-19T10:05:12.999999999Z)", "(2026-11-19 10:05:12 UTC)"),
            ("2026-11-20T10:05:12Z 2026-11-20T10:05:13Z", "10:05:12 UTC 10:05:13 UTC"),
            ("id2026-11-20T10:05:12Z", "id2026-11-20T10:05:12Z"),
            ("2026-11-20T10:05:12+01:00 and Z", "2026-11-20T10:05:12+01:00 and Z"),
            ("2026-99-20T10:05:12Z ü", "2026-99-20T10:05:12Z ü"),
            ("[42.0 (20/11/26 10:04:00)]", "[42.0 (20/11/26 10:04:00)]"),
            ("2026-ü", "2026-ü"),
        ] {
            assert_eq!(times(text, today), expected, "{text}");
        }
    }

    #[test]
    fn a_length_of_time_has_no_fraction() {
        for (millis, expected) in [
            (-5_000, "less than 1 s"),
            (0, "less than 1 s"),
            (999, "less than 1 s"),
            (1_000, "1 s"),
            (47_655, "47 s"),
            (119_999, "119 s"),
            (120_000, "2 min"),
            (7_199_000, "119 min"),
            (7_200_000, "2 h"),
            (172_800_000, "2 d"),
        ] {
            assert_eq!(duration(TimeDelta::milliseconds(millis)), expected, "{millis}");
        }
    }

    #[test]
    fn a_text_becomes_a_sentence() {
        for (text, expected) in [
            ("", ""),
            ("the alarm is OK", "The alarm is OK."),
            ("it failed. ", "It failed."),
            ("`x` is gone", "`x` is gone."),
            ("über", "Über."),
            ("rest/a1b2c3d4e5/prod is gone", "rest/a1b2c3d4e5/prod is gone."),
            ("if so, go back", "If so, go back."),
        ] {
            assert_eq!(sentence(text), expected);
        }
    }
}
