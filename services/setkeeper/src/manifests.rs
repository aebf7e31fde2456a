//! Manifest files as one text, and where in them an error is.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::{fs, io};

use anyhow::{Context as _, bail};
use api::manifest::MANIFEST_BYTES_MAX;

use crate::args::Global;
use crate::print;
use crate::references;

/// Directories inside directories that are followed.
const DEPTH_MAX: usize = 32;

/// What stands between the texts of two files.
const SEPARATOR: &str = "\n---\n";

/// The text of several manifests as one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Manifests {
    text: String,
    parts: Vec<Part>,
}

/// One file of the text.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Part {
    name: String,
    first_line: usize,
}

impl Manifests {
    /// A text that is no file.
    #[must_use]
    pub(crate) fn from_text(name: &str, text: &str) -> Self {
        Self::join(vec![(name.to_owned(), text.to_owned())])
    }

    /// Reads files, directories and, as `-`, standard input.
    ///
    /// # Errors
    /// One cannot be read, together they are too large, or there is nothing in them.
    pub(crate) fn read(files: &[PathBuf], recursive: bool) -> anyhow::Result<Self> {
        let mut texts = Vec::new();
        for file in files {
            if file.as_os_str() == "-" {
                texts.push(("standard input".to_owned(), read(io::stdin().lock(), "standard input")?));
            } else if file.is_dir() {
                let before = texts.len();
                read_directory(file, if recursive { DEPTH_MAX } else { 0 }, &mut texts)?;
                if texts.len() == before {
                    bail!("{} holds no file that ends in .yaml, .yml or .json", file.display());
                }
            } else {
                texts.push(read_file(file)?);
            }
        }
        let whole = Self::join(texts);
        if whole.text.len() > MANIFEST_BYTES_MAX {
            bail!(
                "the manifests have {} bytes together, and {MANIFEST_BYTES_MAX} is the most: apply fewer at once",
                whole.text.len()
            );
        }
        let nothing = |line: &str| line.is_empty() || line.starts_with('#') || line == "---" || line == "...";
        if whole.text.lines().all(|line| nothing(line.trim())) {
            let names: Vec<_> = whole.parts.iter().map(|part| part.name.as_str()).collect();
            bail!("{} holds no object", names.join(", "));
        }
        Ok(whole)
    }

    fn join(texts: Vec<(String, String)>) -> Self {
        let mut whole = Self { text: String::new(), parts: Vec::new() };
        let mut line = 1;
        for (name, text) in texts {
            if !whole.parts.is_empty() {
                whole.text.push_str(SEPARATOR);
                line += SEPARATOR.matches('\n').count();
            }
            whole.parts.push(Part { name, first_line: line });
            line += text.matches('\n').count();
            whole.text.push_str(&text);
        }
        whole
    }

    /// All of it.
    #[must_use]
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// Nothing in them belongs elsewhere than to the namespace that was asked for; kubectl has the same words.
    ///
    /// # Errors
    /// Something does.
    pub(crate) fn check_namespace(&self, global: &Global) -> anyhow::Result<()> {
        let Some(asked) = &global.namespace else { return Ok(()) };
        // What cannot be read is explained by the server.
        for document in api::manifest::parse(&self.text).unwrap_or_default() {
            let own = print::text(&document.value, "/metadata/namespace");
            let kind = references::kind(print::text(&document.value, "/kind"));
            if !own.is_empty() && own != asked && kind.is_ok_and(api::manifest::Kind::namespaced) {
                bail!(
                    "the namespace from the provided object {own:?} does not match the namespace {asked:?}. You must \
                     pass '--namespace={own}' to perform this operation ({} {:?})",
                    print::text(&document.value, "/kind"),
                    print::name_of(&document.value),
                );
            }
        }
        Ok(())
    }

    /// The same words with places in the files instead of places in the whole text.
    #[must_use]
    pub(crate) fn locate(&self, message: &str) -> String {
        let lines: Vec<String> = message.split('\n').map(|line| self.locate_line(line)).collect();
        lines.join("\n")
    }

    fn locate_line(&self, message: &str) -> String {
        const MARK: &str = "line ";
        let (mut located, mut rest) = (String::new(), message);
        while let Some((before, after)) = rest.split_once(MARK) {
            let digits = after.len() - after.trim_start_matches(|character: char| character.is_ascii_digit()).len();
            let part = after[..digits].parse().ok().and_then(|line| self.part(line));
            located.push_str(before);
            rest = &after[digits..];
            match part {
                // The first place says the file; those behind it are in the same one.
                Some((name, line)) if rest.starts_with(": ") => located.push_str(&format!("{name}:{line}")),
                Some((_, line)) => located.push_str(&format!("{MARK}{line}")),
                None => located.push_str(&format!("{MARK}{}", &after[..digits])),
            }
        }
        located.push_str(rest);
        located
    }

    fn part(&self, line: usize) -> Option<(&str, usize)> {
        let part = self.parts.iter().rev().find(|part| part.first_line <= line)?;
        Some((&part.name, line - part.first_line + 1))
    }
}

fn read_directory(directory: &Path, depth: usize, texts: &mut Vec<(String, String)>) -> anyhow::Result<()> {
    let entries = fs::read_dir(directory).with_context(|| format!("{} cannot be read", directory.display()))?;
    let mut paths: Vec<PathBuf> = entries.map(|entry| Ok(entry?.path())).collect::<io::Result<_>>()?;
    paths.sort();
    for path in paths {
        if path.is_dir() {
            if depth > 0 {
                read_directory(&path, depth - 1, texts)?;
            }
        } else if path.extension().is_some_and(|end| ["yaml", "yml", "json"].iter().any(|known| end == *known)) {
            texts.push(read_file(&path)?);
        }
    }
    Ok(())
}

fn read_file(path: &Path) -> anyhow::Result<(String, String)> {
    let name = path.display().to_string();
    let file = fs::File::open(path).with_context(|| format!("{name} cannot be opened"))?;
    let text = read(file, &name)?;
    Ok((name, text))
}

fn read(source: impl io::Read, name: &str) -> anyhow::Result<String> {
    // One byte more than allowed tells that there is more.
    let bound = MANIFEST_BYTES_MAX + 1;
    // Room for all of it takes no memory before it is used; room that grows is copied, and for a moment there twice.
    let mut text = String::with_capacity(bound + 1);
    source.take(bound as u64).read_to_string(&mut text).with_context(|| format!("{name} cannot be read"))?;
    if text.len() > MANIFEST_BYTES_MAX {
        bail!("{name} has more than {MANIFEST_BYTES_MAX} bytes, which is the most a manifest may have");
    }
    text.shrink_to_fit();
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files() -> (tempfile::TempDir, impl Fn(&str, &str)) {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().to_owned();
        (directory, move |name: &str, text: &str| fs::write(path.join(name), text).expect("a file"))
    }

    #[test]
    fn a_directory_is_one_manifest_in_the_order_of_names() {
        let (directory, write) = files();
        write("b.yaml", "b: 1");
        write("a.json", "{\"a\": 1}");
        write("notes.txt", "no manifest");
        fs::create_dir(directory.path().join("more")).expect("a directory");
        write("more/c.yml", "c: 1");
        let files = [directory.path().to_owned()];
        let text = |recursive| Manifests::read(&files, recursive).expect("reads").text;
        assert_eq!(text(false), "{\"a\": 1}\n---\nb: 1");
        assert_eq!(text(true), "{\"a\": 1}\n---\nb: 1\n---\nc: 1");
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let (directory, write) = files();
        let error = |path: PathBuf| Manifests::read(&[path], false).expect_err("refused").to_string();
        assert!(error(directory.path().to_owned()).contains(".yaml"));
        assert!(error("/nonexistent/x.yaml".into()).contains("/nonexistent/x.yaml"));
        write("empty.yaml", "# nothing\n---\n");
        assert!(error(directory.path().join("empty.yaml")).contains("empty.yaml holds no object"));
    }

    #[test]
    fn errors_name_the_file_and_its_line() {
        let texts = [("a.yaml", "one\ntwo\n"), ("b.yaml", "one\ntwo"), ("c.yaml", "one")];
        let whole = Manifests::join(texts.map(|(name, text)| (name.to_owned(), text.to_owned())).to_vec());
        for (line, text) in [(2, "two"), (5, "one"), (6, "two"), (8, "one")] {
            assert_eq!(whole.text.lines().nth(line - 1), Some(text), "line {line}");
        }
        for (said, located) in [
            ("error: line 2: bad", "error: a.yaml:2: bad"),
            (
                "nothing:\n  * line 5: bad\n  * line 8: bad at line 8, column 2",
                "nothing:\n  * b.yaml:1: bad\n  * c.yaml:1: bad at line 1, column 2",
            ),
            ("a line is missing, line x", "a line is missing, line x"),
        ] {
            assert_eq!(whole.locate(said), located);
        }
    }
}
