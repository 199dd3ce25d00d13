//! Texts of others, such as an alarm's reason or a label, made safe to show: they must not add lines to a report, act on a
//! terminal, or mention people in a chat. And numbers with their nouns. No I/O.

/// Whether a character acts instead of being shown: a control character, a line break of Unicode, or one that changes the
/// direction of the text after it.
fn acts(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{2028}' | '\u{2029}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Returns a text as one line: each character that acts becomes a space.
#[must_use]
pub fn line(text: &str) -> String {
    text.chars().map(|c| if acts(c) { ' ' } else { c }).collect()
}

/// Turns a text into one line.
#[must_use]
pub fn into_line(text: String) -> String {
    if text.chars().any(acts) { line(&text) } else { text }
}

/// Returns a line for a chat message, where it can neither mention a channel or a person nor hide the target of a link.
#[must_use]
pub fn chat(text: &str) -> String {
    let text = line(text).replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    text.replace("](", "] (")
}

/// Returns a number with its noun: "1 stage", "2 stages".
#[must_use]
pub fn counted(number: usize, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

/// Returns a text for a terminal, with its lines and colours, and without every other character that acts.
#[must_use]
pub fn terminal(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let length = colour(rest).unwrap_or(c.len_utf8());
        let (taken, after) = rest.split_at(length);
        let is_shown = length > c.len_utf8() || c == '\n' || c == '\t' || !acts(c);
        shown.push_str(if is_shown { taken } else { " " });
        rest = after;
    }
    shown
}

/// Returns the length of the escape sequence for a colour that a text begins with.
fn colour(text: &str) -> Option<usize> {
    let codes = text.strip_prefix("\u{1b}[")?;
    let end = codes.find(|c: char| !c.is_ascii_digit() && c != ';')?;
    codes.get(end..)?.starts_with('m').then_some("\u{1b}[".len() + end + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_of_others_is_one_line_and_acts_nowhere() {
        for (text, as_line, as_chat, as_terminal) in [
            ("2 datapoints", "2 datapoints", "2 datapoints", "2 datapoints"),
            ("über 5 %", "über 5 %", "über 5 %", "über 5 %"),
            (
                "a\nWhat to do next\r\n- curl x",
                "a What to do next  - curl x",
                "a What to do next  - curl x",
                "a\nWhat to do next \n- curl x",
            ),
            (
                "<!channel> & <@U1>",
                "<!channel> & <@U1>",
                "&lt;!channel&gt; &amp; &lt;@U1&gt;",
                "<!channel> & <@U1>",
            ),
            ("[ok](http://evil)", "[ok](http://evil)", "[ok] (http://evil)", "[ok](http://evil)"),
            ("\u{1b}]52;c;x\u{7}a", " ]52;c;x a", " ]52;c;x a", " ]52;c;x a"),
            (
                "\u{1b}[2J\u{1b}[1;31mred\u{1b}[0m",
                " [2J [1;31mred [0m",
                " [2J [1;31mred [0m",
                " [2J\u{1b}[1;31mred\u{1b}[0m",
            ),
            ("\u{1b}[", " [", " [", " ["),
            ("a\u{202e}b\u{2028}c\u{9b}d", "a b c d", "a b c d", "a b c d"),
            ("", "", "", ""),
        ] {
            assert_eq!(
                (line(text), chat(text), terminal(text)),
                (as_line.to_owned(), as_chat.to_owned(), as_terminal.to_owned()),
                "{text:?}"
            );
        }
    }
}
