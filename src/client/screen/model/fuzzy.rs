//! Fuzzy matching: how well a few typed letters fit a name.

/// The fit of `typed` to `name`, higher is better; `None` if the name does not have its letters in that
/// order. Case does not count. A beginning beats the beginning of a word, which beats letters that follow
/// each other.
pub fn fit(name: &str, typed: &str) -> Option<i32> {
    let name: Vec<char> = name.to_lowercase().chars().collect();
    let typed: Vec<char> = typed.to_lowercase().chars().filter(|letter| !letter.is_whitespace()).collect();
    let mut score = 0;
    let mut from = 0;
    let mut last = None;
    for letter in typed {
        let places = (from..name.len()).filter(|&at| name[at] == letter);
        let value = |at: usize| {
            let begins = at == 0 || !name[at - 1].is_alphanumeric();
            let follows = at > 0 && last == Some(at - 1);
            match (at, begins, follows) {
                (0, ..) => 12,
                (_, _, true) => 8,
                (_, true, _) => 6,
                _ => 0,
            }
        };
        // If two places have the same value, the first.
        let at = places.max_by_key(|&at| (value(at), std::cmp::Reverse(at)))?;
        score += value(at) - i32::try_from(at - from).unwrap_or(i32::MAX).min(5);
        last = Some(at);
        from = at + 1;
    }
    // If two names fit equally well, the shorter one.
    Some(score * 100 - i32::try_from(name.len()).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_better_fit_comes_first() {
        let best = |typed: &str, names: &[&str]| {
            let fits = names.iter().filter_map(|&name| fit(name, typed).map(|fit| (fit, name.to_owned())));
            fits.max().map(|(_, name)| name)
        };
        assert_eq!(best("dev", &["devops", "dev", "old-dev"]).unwrap(), "dev");
        assert_eq!(best("od", &["order", "old-dev", "road"]).unwrap(), "old-dev");
        assert_eq!(best("BO", &["jumbo", "bob"]).unwrap(), "bob");
        assert_eq!(best("xyz", &["abc"]), None);
        assert!(fit("anything", "").is_some());
    }
}
