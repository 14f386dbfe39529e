//! Text from a file, made fit for a message.

/// `text` cut to `length` characters, what would act on a terminal made visible.
pub(crate) fn plain(text: &str, length: usize) -> String {
    let mut plain = String::new();
    for (index, character) in text.chars().enumerate() {
        if index == length {
            plain.push('…');
            break;
        }
        if character.is_control() {
            plain.extend(character.escape_default());
        } else {
            plain.push(character);
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::plain;

    #[test]
    fn long_text_is_cut_and_control_characters_are_shown() {
        assert_eq!(plain("ab\u{1b}[1mcd", 7), "ab\\u{1b}[1mc…");
        assert_eq!(plain("äöü", 3), "äöü");
    }
}
