//! What `KIND`, `KIND NAME` and `KIND/NAME` mean.

use api::manifest::Kind;

/// Kinds that `all` stands for.
const ALL: [Kind; 3] = [Kind::Pod, Kind::Service, Kind::StatefulSet];

/// Objects that were asked for: one by name, or all of a kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// Their kind.
    pub(crate) kind: Kind,
    /// The one; none means all.
    pub(crate) name: Option<String>,
}

/// Words that name no objects.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ReferenceError {
    /// There is no such kind.
    #[error("there is no kind {0:?}; {hint}there are {kinds}", hint = nearest(.0), kinds = known_kinds())]
    UnknownKind(String),
    /// Labels that cannot be read.
    #[error("--selector: {part}; write it like app=web, tier!=db or 'app in (web,db)'")]
    BadSelector {
        /// What is wrong with which part.
        part: String,
    },
    /// Kinds and names are mixed up.
    #[error("{0:?} is no KIND/NAME: when one argument is written with a slash, all of them must be")]
    MixedForms(String),
    /// There is a slash but no name.
    #[error("{0:?} has no name after the slash")]
    NoName(String),
    /// Only sets are rolled out.
    #[error("{0} have no rollouts; only sets have")]
    NoRollouts(&'static str),
    /// A single object was needed.
    #[error("name one object, such as sts/web or sts web")]
    NotOne,
    /// Names were given with several kinds.
    #[error("names can be given for one kind only; write KIND/NAME for each object")]
    NamesOfSeveralKinds,
}

/// Reads the words behind `get`, `describe` or `delete`.
///
/// # Errors
/// A kind does not exist, or forms are mixed.
pub(crate) fn parse(words: &[String]) -> Result<Vec<Wanted>, ReferenceError> {
    let Some((first, names)) = words.split_first() else { return Err(ReferenceError::NotOne) };
    if words.iter().any(|word| word.contains('/')) {
        return words.iter().map(|word| with_slash(word)).collect();
    }
    let mut kinds = Vec::new();
    for word in first.split(',').filter(|word| !word.is_empty()) {
        if word.eq_ignore_ascii_case("all") {
            kinds.extend(ALL);
        } else {
            kinds.push(kind(word)?);
        }
    }
    match (kinds.as_slice(), names) {
        ([], _) => Err(ReferenceError::UnknownKind(first.clone())),
        (kinds, []) => Ok(kinds.iter().map(|kind| Wanted { kind: *kind, name: None }).collect()),
        ([kind], names) => Ok(names.iter().map(|name| Wanted { kind: *kind, name: Some(name.clone()) }).collect()),
        _ => Err(ReferenceError::NamesOfSeveralKinds),
    }
}

/// Reads words that name exactly one object.
///
/// # Errors
/// They do not.
pub(crate) fn parse_one(words: &[String]) -> Result<(Kind, String), ReferenceError> {
    match parse(words)?.as_slice() {
        [Wanted { kind, name: Some(name) }] => Ok((*kind, name.clone())),
        _ => Err(ReferenceError::NotOne),
    }
}

/// Reads words that name one set or more.
///
/// # Errors
/// They name something else, or nothing.
pub(crate) fn parse_sets(words: &[String]) -> Result<Vec<String>, ReferenceError> {
    let wanted = parse(words)?;
    if let Some(other) = wanted.iter().find(|wanted| wanted.kind != Kind::StatefulSet) {
        return Err(ReferenceError::NoRollouts(other.kind.plural()));
    }
    wanted.into_iter().map(|wanted| wanted.name.ok_or(ReferenceError::NotOne)).collect()
}

/// Reads what people call a kind; a group behind it, as in `statefulsets.apps`, is let pass where it is right.
///
/// # Errors
/// There is no such kind.
pub(crate) fn kind(word: &str) -> Result<Kind, ReferenceError> {
    let unknown = || ReferenceError::UnknownKind(word.to_owned());
    let (name, group) = word.split_once('.').map_or((word, None), |(name, group)| (name, Some(group)));
    let kind = Kind::from_text(name).ok_or_else(unknown)?;
    let right = |group: &str| {
        kind.api_versions().iter().any(|version| {
            let (own_group, version) = version.split_once('/').unwrap_or(("", version));
            group == own_group || group == format!("{version}.{own_group}")
        })
    };
    if group.is_none_or(right) { Ok(kind) } else { Err(unknown()) }
}

/// Whether labels can be read, before anybody is asked.
///
/// # Errors
/// They cannot.
pub(crate) fn check_selector(selector: Option<&str>) -> Result<(), ReferenceError> {
    let Some(selector) = selector else { return Ok(()) };
    match api::manifest::selector::Selector::parse(selector) {
        Ok(_) => Ok(()),
        Err(violation) => Err(ReferenceError::BadSelector { part: violation.description() }),
    }
}

fn with_slash(word: &str) -> Result<Wanted, ReferenceError> {
    let (kind_word, name) = word.split_once('/').ok_or_else(|| ReferenceError::MixedForms(word.to_owned()))?;
    if name.is_empty() {
        return Err(ReferenceError::NoName(word.to_owned()));
    }
    Ok(Wanted { kind: kind(kind_word)?, name: Some(name.to_owned()) })
}

/// What a word with a slip was meant to be.
fn nearest(word: &str) -> String {
    let word = word.to_ascii_lowercase();
    let names = Kind::all().flat_map(|kind| {
        let singular = kind.name().to_ascii_lowercase();
        kind.short_names().iter().map(|short| (*short).to_owned()).chain([kind.plural().to_owned(), singular])
    });
    // One slip for three letters; a word of two letters is no slip of another.
    let slips_max = (word.chars().count() / 3).min(2);
    let best = names.map(|name| (slips(&word, &name), name)).min();
    match best {
        Some((slips, name)) if slips <= slips_max => format!("did you mean {name}? "),
        _ => String::new(),
    }
}

/// Letters to add, leave out, change or swap with the next.
fn slips(left: &str, right: &str) -> usize {
    let (left, right): (Vec<char>, Vec<char>) = (left.chars().collect(), right.chars().collect());
    let mut rows = vec![(0..=right.len()).collect::<Vec<_>>()];
    for i in 1..=left.len() {
        let mut row = vec![i];
        for j in 1..=right.len() {
            let same = left[i - 1] == right[j - 1];
            let mut least = (rows[i - 1][j] + 1).min(row[j - 1] + 1).min(rows[i - 1][j - 1] + usize::from(!same));
            if i > 1 && j > 1 && left[i - 1] == right[j - 2] && left[i - 2] == right[j - 1] {
                least = least.min(rows[i - 2][j - 2] + 1);
            }
            row.push(least);
        }
        rows.push(row);
    }
    rows[left.len()][right.len()]
}

fn known_kinds() -> String {
    let named = Kind::all().map(|kind| match kind.short_names().first() {
        Some(short) => format!("{} ({short})", kind.plural()),
        None => kind.plural().to_owned(),
    });
    named.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<String, ReferenceError> {
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        let wanted = parse(&words)?;
        let one = |wanted: &Wanted| match &wanted.name {
            Some(name) => format!("{}/{name}", wanted.kind),
            None => wanted.kind.to_string(),
        };
        Ok(wanted.iter().map(one).collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn every_form_of_kubectl_is_understood() {
        for (line, meaning) in [
            ("sts", "StatefulSet"),
            ("StatefulSets web db", "StatefulSet/web StatefulSet/db"),
            ("sts/web pod/web-0", "StatefulSet/web Pod/web-0"),
            ("sts,po", "StatefulSet Pod"),
            ("all", "Pod Service StatefulSet"),
            ("statefulsets.apps", "StatefulSet"),
            ("statefulset.v1.apps/web", "StatefulSet/web"),
        ] {
            assert_eq!(read(line).as_deref(), Ok(meaning), "{line}");
        }
    }

    #[test]
    fn what_is_not_understood_is_explained() {
        let error = read("deploy").expect_err("not here").to_string();
        assert!(error.contains("\"deploy\"") && error.contains("statefulsets (sts)"), "{error}");
        for (word, hint) in
            [("statefullset", "statefulset?"), ("pdos", "pods?"), ("evnets/x", "events?"), ("psv", "pv")]
        {
            let error = read(word).expect_err("a slip").to_string();
            assert!(error.contains(&format!("did you mean {hint}")), "{error}");
        }
        assert!(!error.contains("did you mean"), "{error}");
        assert!(check_selector(Some("app=web,tier in (a,b)")).is_ok());
        let error = check_selector(Some("app in (web")).expect_err("unclosed").to_string();
        assert!(error.contains("--selector") && error.contains("app=web"), "{error}");
        assert_eq!(read("sts/web pods"), Err(ReferenceError::MixedForms("pods".to_owned())));
        assert_eq!(read("sts/"), Err(ReferenceError::NoName("sts/".to_owned())));
        assert_eq!(read("sts,pods web"), Err(ReferenceError::NamesOfSeveralKinds));
        assert_eq!(read("pods.apps"), Err(ReferenceError::UnknownKind("pods.apps".to_owned())));
        assert_eq!(parse_one(&["sts".to_owned()]), Err(ReferenceError::NotOne));
    }
}
